"""Whether this user, and the service's, may have what the alarm needs, and others may not read the secrets."""

from __future__ import annotations

import os
from collections.abc import Iterator

from edge.doctor.devices import devices
from edge.doctor.finding import Finding, broken, doubt, fine
from edge.doctor.patient import UNIT, Patient

SECRETS = "secrets.yml"  # beside the config
OTHERS = 0o004


def check_groups(patient: Patient) -> Iterator[Finding]:
    """The groups of this user, for devices that are here or asked for."""
    if os.name != "posix":
        return
    if os.geteuid() == 0:
        yield fine("user", "root, who may have everything")
    else:
        yield _groups("user", needed(patient), _own_groups(), "sudo usermod -aG {} $USER, then log out and in again")
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


def _groups(name: str, wanted: set[str], have: set[str], todo: str) -> Finding:
    missing = sorted(wanted - have)
    if missing:
        # A desktop gives whoever sits at it its devices without any group.
        words = f"not in the group{'s' * (len(missing) > 1)} {', '.join(missing)}, whose devices the alarm uses"
        return doubt(name, words, todo.format(",".join(missing)))
    return fine(name, f"in the groups {', '.join(sorted(wanted))}" if wanted else "needs no groups here")


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
    try:
        mode = secrets.stat().st_mode
    except OSError:
        return
    if os.name == "posix" and mode & OTHERS:
        yield doubt("secrets", f"{secrets} may be read by every user", f"chmod o-rwx {secrets}")
    else:
        yield fine("secrets", f"{secrets} is closed to others")
