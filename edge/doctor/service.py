"""The service of this machine, as systemd describes it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from edge.alert.redact import scrub
from edge.device.systemd import Host, ServiceError, State, ask
from edge.doctor.finding import Finding, broken, doubt, fine, unknown
from edge.doctor.patient import Patient

LOG = "see `journalctl -u bear-alarm -n 50`"
INSTALL = "sudo bear-alarm service install"
MANY = 3  # restarts by itself


def check_service(patient: Patient, host: Host | None = None) -> Iterator[Finding]:
    """Installed, switched on, running, watched over, and how often it was started again."""
    if host is None:
        if shutil.which("systemctl") is None or not (patient.root / "run/systemd/system").is_dir():
            yield unknown("service", "no systemd runs here")
            return
        host = Host(root=patient.root)
    try:
        now = ask(host, lines=0)
    except ServiceError as error:
        said = scrub(str(error).partition("did not work: ")[2] or str(error))  # without our long question
        yield unknown("service", f"systemd does not answer ({said})", "see `systemctl status`")
        return
    if not now.installed:
        words = "not installed: the alarm runs only while somebody runs `watch`"
        yield fine("service", words, f"{INSTALL}, where it shall start by itself")
        return
    yield _state(now)
    if not now.enabled:
        yield doubt("after a power cut", "it is not started by itself", "sudo systemctl enable bear-alarm")
    if now.restarts >= MANY:
        yield doubt("restarts", f"it was started again {now.restarts} times by itself", LOG)
    if now.watchdog_s is None:
        yield doubt("watchdog", "nobody notices when it hangs", f"install it again: {INSTALL}")
    if now.outdated:
        yield doubt("unit", "its file was changed and systemd has not read it again", "sudo systemctl daemon-reload")


def _state(now: State) -> Finding:
    said = f": {now.said}" if now.said else ""
    if now.up:
        return fine("service", f"it runs{said}")
    if now.active == "activating" and (now.sub == "auto-restart" or now.restarts >= MANY):
        why = f"{now.result or 'no reason given'}, {now.restarts} times by now"
        return broken("service", f"it ends again and again and is started again ({why}){said}", LOG)
    if now.active == "activating":
        return doubt("service", f"it is starting ({now.sub}){said}", f"look again in a minute; {LOG}")
    if now.active == "failed":
        return broken("service", f"it failed ({now.result or 'no reason given'})", LOG)
    return broken("service", f"it does not run ({now.active})", "sudo systemctl start bear-alarm")
