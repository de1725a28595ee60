"""The service: installed, enabled, running and watched, and how often it was restarted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from edge.alert.redact import scrub
from edge.cli.doctor.findings import CheckResult, broken, doubt, fine, unknown
from edge.cli.doctor.target import Target
from edge.device.systemd_host import Host, ServiceError
from edge.device.systemd_status import State, ask

MANY_RESTARTS = 3  # by itself
LOG = "see `journalctl -u bear-alarm -n 50`"
INSTALL = "sudo bear-alarm service install"


def check_service(target: Target, host: Host | None = None) -> Iterator[CheckResult]:
    """Check that it is installed, enabled, running and watched, and how often it was restarted."""
    if host is None:
        if shutil.which("systemctl") is None or not (target.root / "run/systemd/system").is_dir():
            yield unknown("service", "no systemd runs here")
            return
        host = Host(root=target.root)
    try:
        now = ask(host, lines=0)
    except ServiceError as error:
        said = scrub(str(error).partition("did not work: ")[2] or str(error))  # without the long command
        yield unknown("service", f"systemd does not answer ({said})", "see `systemctl status`")
        return
    if not now.installed:
        words = "not installed: the alarm runs only while somebody runs `watch`"
        yield fine("service", words, f"to start it at boot: {INSTALL}")
        return
    yield _state(now)
    if not now.enabled:
        yield doubt("after a power cut", "it is not started by itself", "sudo systemctl enable bear-alarm")
    if now.restarts >= MANY_RESTARTS:
        yield doubt("restarts", f"it was started again {now.restarts} times by itself", LOG)
    if now.watchdog_s is None:
        yield doubt("watchdog", "nobody notices when it hangs", f"install it again: {INSTALL}")
    if now.outdated:
        yield doubt("unit", "its file was changed and systemd has not read it again", "sudo systemctl daemon-reload")


def _state(now: State) -> CheckResult:
    said = f": {now.said}" if now.said else ""
    if now.up:
        return fine("service", f"it runs{said}")
    if now.active == "activating" and (now.sub == "auto-restart" or now.restarts >= MANY_RESTARTS):
        why = f"{now.result or 'no reason given'}, {now.restarts} times by now"
        return broken("service", f"it ends again and again and is started again ({why}){said}", LOG)
    if now.active == "activating":
        return doubt("service", f"it is starting ({now.sub}){said}", f"look again in a minute; {LOG}")
    if now.active == "failed":
        return broken("service", f"it failed ({now.result or 'no reason given'})", LOG)
    return broken("service", f"it does not run ({now.active})", "sudo systemctl start bear-alarm")
