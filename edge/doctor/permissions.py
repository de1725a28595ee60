"""Whether this user, and the service's, may have what the alarm needs, and others may not read the secrets."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from edge.doctor.devices import devices
from edge.doctor.finding import Finding, broken, doubt, fine
from edge.doctor.patient import UNIT, Patient
from edge.settings import Settings

SECRETS = "secrets.yml"  # beside the config
OTHERS = 0o004


def check_groups(patient: Patient) -> Iterator[Finding]:
    """The groups of this user, for devices that are here or asked for."""
    if os.name != "posix":
        return
    if os.geteuid() == 0:
        yield fine("user", "root, who may have everything")
    else:
        have = _own_groups() | open_now(patient.root)
        yield _groups("user", needed(patient), have, "sudo usermod -aG {} $USER, then log out and in again")
    if patient.has_service:
        todo = "install it again: sudo bear-alarm service install"
        yield _groups("service user", needed(patient), _service_groups(patient), todo)


def needed(patient: Patient) -> set[str]:
    """The groups that devices belong to which the alarm uses here."""
    alerts = patient.settings.alerts
    found = {each.group for each in devices(patient.root)}
    if alerts.relays or alerts.deterrent_lamps:
        found.add("gpio")
    if alerts.sounds or alerts.deterrent:
        found.add("audio")
    return found - {"root"}


def open_now(root: Path) -> set[str]:
    """The groups whose devices this user may open without being in them: a desktop gives them to who sits at it."""
    nodes: dict[str, list[Path]] = {}
    for pattern in ("video[0-9]*", "gpiochip*", "snd/controlC*"):
        for path in (root / "dev").glob(pattern):
            # Gone meanwhile, of a group without a name, Windows: then there is no group to be in.
            with contextlib.suppress(OSError, KeyError, NotImplementedError):
                nodes.setdefault(path.group(), []).append(path)
    return {group for group, paths in nodes.items() if all(os.access(path, os.R_OK | os.W_OK) for path in paths)}


def _groups(name: str, wanted: set[str], have: set[str], todo: str) -> Finding:
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


def _service_groups(patient: Patient) -> set[str]:
    """What the unit gives its process beside its user's own group."""
    try:
        lines = (patient.root / UNIT).read_text(errors="replace").splitlines()
    except OSError:
        return set()
    return {word for line in lines if line.startswith("SupplementaryGroups=") for word in line[20:].split()}


def check_secrets(patient: Patient) -> Iterator[Finding]:
    """The config can be read, and its secrets by nobody else."""
    if patient.config is None:
        return
    if not os.access(patient.config, os.R_OK):
        words = f"{patient.config} may not be read by this user"
        yield broken("config file", words, "ask as root, or change its owner")
        return
    secrets = patient.config.with_name(SECRETS)
    if _holds_secrets(patient.config, patient.settings) and _open_to_all(patient.config):
        words = f"{patient.config} holds passwords or addresses that are secrets, and may be read by every user"
        yield doubt("secrets", words, f"chmod o-rwx {patient.config}, or put them into {SECRETS} beside it")
    if secrets.exists():
        if _open_to_all(secrets):
            yield doubt("secrets", f"{secrets} may be read by every user", f"chmod o-rwx {secrets}")
        else:
            yield fine("secrets", f"{secrets} is closed to others")


def _open_to_all(path: Path) -> bool:
    try:
        return os.name == "posix" and bool(path.stat().st_mode & OTHERS)
    except OSError:
        return False


def _holds_secrets(config: Path, settings: Settings) -> bool:
    """Whether a secret of the settings stands in the file itself, and not as ``${NAME}``."""
    alerts = settings.alerts
    found = [alerts.webhook, alerts.webhook_secret, alerts.mqtt and alerts.mqtt.password, *alerts.notify]
    found += [each.source for each in settings.cameras if "@" in each.source]
    try:
        text = config.read_text(errors="replace")
    except OSError:
        return False
    return any(each and each in text for each in found)
