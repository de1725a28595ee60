"""The service and its rights: whether it runs, the groups of its devices, and who can read its secrets."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from edge.alert.redact import scrub
from edge.cli.doctor.cameras import devices
from edge.cli.doctor.findings import UNIT, CheckResult, Target, broken, doubt, fine, unknown
from edge.config import SECRETS
from edge.device.systemd_host import Host, ServiceError, State, ask
from edge.settings import Settings

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
        words = scrub(str(error).partition("did not work: ")[2] or str(error))  # without the long command
        yield unknown("service", f"systemd does not answer ({words})", "see `systemctl status`")
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
    status = f": {now.said}" if now.said else ""
    if now.up:
        return fine("service", f"it runs{status}")
    if now.active == "activating" and (now.sub == "auto-restart" or now.restarts >= MANY_RESTARTS):
        why = f"{now.result or 'no reason given'}, {now.restarts} times by now"
        return broken("service", f"it ends again and again and is started again ({why}){status}", LOG)
    if now.active == "activating":
        return doubt("service", f"it is starting ({now.sub}){status}", f"look again in a minute; {LOG}")
    if now.active == "failed":
        return broken("service", f"it failed ({now.result or 'no reason given'})", LOG)
    return broken("service", f"it does not run ({now.active})", "sudo systemctl start bear-alarm")


# Groups of the devices that the alarm uses, and who can read its secrets.


READABLE_BY_ALL = 0o004


def check_groups(target: Target) -> Iterator[CheckResult]:
    """Check the groups of this user and the service's, for devices that are here or configured."""
    if os.name != "posix":
        return
    if os.geteuid() == 0:
        yield fine("user", "root, who may have everything")
    else:
        have = _own_groups() | open_now(target.root)
        yield _groups("user", needed(target), have, "sudo usermod -aG {} $USER, then log out and in again")
    if target.has_service:
        todo = "install it again: sudo bear-alarm service install"
        yield _groups("service user", needed(target), _service_groups(target), todo)


def needed(target: Target) -> set[str]:
    """List the groups of the devices that the alarm uses here."""
    alerts = target.settings.alerts
    found = {each.group for each in devices(target.root)}
    if alerts.relays or alerts.deterrent_lamps:
        found.add("gpio")
    if alerts.sounds or alerts.deterrent:
        found.add("audio")
    return found - {"root"}


def open_now(root: Path) -> set[str]:
    """List the groups whose devices this user may open without them: a desktop lends them to who sits at it."""
    nodes: dict[str, list[Path]] = {}
    for pattern in ("video[0-9]*", "gpiochip*", "snd/controlC*"):
        for path in (root / "dev").glob(pattern):
            # Gone meanwhile, of a group without a name, Windows: then there is no group to be in.
            with contextlib.suppress(OSError, KeyError, NotImplementedError):
                nodes.setdefault(path.group(), []).append(path)
    return {group for group, paths in nodes.items() if all(os.access(path, os.R_OK | os.W_OK) for path in paths)}


def _groups(name: str, wanted: set[str], have: set[str], todo: str) -> CheckResult:
    missing = sorted(wanted - have)
    if missing:
        words = f"not in the group{'s' * (len(missing) > 1)} {', '.join(missing)}, whose devices the alarm uses"
        return doubt(name, words, todo.format(",".join(missing)))
    return fine(name, f"may use what belongs to {', '.join(sorted(wanted))}" if wanted else "needs no groups here")


def _own_groups() -> set[str]:
    import grp

    found = set()
    for number in {*os.getgroups(), os.getegid()}:
        try:
            found.add(grp.getgrgid(number).gr_name)
        except KeyError:
            found.add(str(number))
    return found


def _service_groups(target: Target) -> set[str]:
    """Read what the unit gives its process beside its user's own group."""
    try:
        lines = (target.root / UNIT).read_text(errors="replace").splitlines()
    except OSError:
        return set()
    return {word for line in lines if line.startswith("SupplementaryGroups=") for word in line[20:].split()}


def check_secrets(target: Target) -> Iterator[CheckResult]:
    """Check that the config can be read, and that no other user reads its secrets."""
    if target.config is None:
        return
    if not os.access(target.config, os.R_OK):
        words = f"{target.config} may not be read by this user"
        yield broken("config file", words, "ask as root, or change its owner")
        return
    secrets = target.config.with_name(SECRETS)
    if _holds_secrets(target.config, target.settings) and _open_to_all(target.config):
        words = f"{target.config} holds passwords or addresses that are secrets, and may be read by every user"
        yield doubt("secrets", words, f"chmod o-rwx {target.config}, or put them into {SECRETS} beside it")
    if secrets.exists():
        if _open_to_all(secrets):
            yield doubt("secrets", f"{secrets} may be read by every user", f"chmod o-rwx {secrets}")
        else:
            yield fine("secrets", f"{secrets} is closed to others")


def _open_to_all(path: Path) -> bool:
    try:
        return os.name == "posix" and bool(path.stat().st_mode & READABLE_BY_ALL)
    except OSError:
        return False


def _holds_secrets(config: Path, settings: Settings) -> bool:
    """Return whether a secret of the settings is in the file itself, and not as ``${NAME}``."""
    alerts = settings.alerts
    found = [alerts.webhook, alerts.webhook_secret, alerts.mqtt and alerts.mqtt.password, *alerts.notify]
    found += [each.source for each in settings.cameras if "@" in each.source]
    try:
        text = config.read_text(errors="replace")
    except OSError:
        return False
    return any(each and each in text for each in found)
