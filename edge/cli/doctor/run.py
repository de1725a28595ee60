"""Findings for people: a mark and words, what to do in the line below."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from edge.alert.redact import scrub
from edge.cli.doctor import alerts, cameras, machine, model, packages
from edge.cli.doctor.findings import CheckResult, broken, fine, unknown
from edge.cli.doctor.target import Target

# The doctor's round: every check in its turn, each within its time, and what fails of our own said as such.


log = logging.getLogger(__name__)

Look = Callable[[Target], Iterable[CheckResult]]
LIMIT_S = 30.0
OUR_FAULT = "report it, with `bear-alarm doctor --bundle report.zip`"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at, and how long that may take."""

    name: str
    look: Look
    limit_s: float = LIMIT_S  # until its next finding


def examine(target: Target, groups: Iterable[tuple[str, Iterable[Check]]] | None = None) -> Iterator[CheckResult]:
    """Every finding, each as soon as it is there, group by group."""
    if groups is None:
        groups = groups_for(target)
    for title, checks in groups:
        for check in checks:
            for finding in _looked(check, target):
                yield replace(finding, group=title)


def _looked(check: Check, target: Target) -> Iterator[CheckResult]:
    """In a thread of its own: a disk or a name server that does not answer holds up nothing but its line."""
    found: queue.SimpleQueue[CheckResult | None] = queue.SimpleQueue()

    def look() -> None:
        try:
            for finding in check.look(target):
                found.put(finding)
        except Exception as error:  # whatever it is: the other checks go on
            log.debug("a check failed", exc_info=True)
            words = scrub(f"{type(error).__name__}: {error}")
            found.put(broken(check.name, f"could not be checked because of an internal error ({words})", OUR_FAULT))
        finally:
            found.put(None)

    threading.Thread(target=look, name=f"doctor {check.name}", daemon=True).start()
    while True:
        try:
            finding = found.get(timeout=check.limit_s)
        except queue.Empty:
            yield unknown(check.name, f"gave no answer within {check.limit_s:g} s", "try again when the machine rests")
            return
        if finding is None:
            return
        yield finding


# The list of everything that is looked at, in groups.


PACKAGES = "Packages"


def groups_for(target: Target) -> list[tuple[str, list[Check]]]:
    """Each group's title and checks; what says nothing of this device yields nothing."""
    return [
        (PACKAGES, [Check("packages", packages.check_packages, packages.IMPORT_S + 5)]),
        ("Config", [Check("config", check_config), Check("secrets", machine.check_secrets)]),
        ("Model", [Check("model", model.check_model, model.WITHIN_S + 5)]),
        ("Cameras", [Check("cameras", cameras.check_cameras, cameras.WITHIN_S + 5)]),
        (
            "Board",
            [
                Check("board", machine.check_board),
                Check("power", machine.check_power),
                Check("clock", machine.check_clock),
                Check("network", machine.check_network),
            ],
        ),
        (
            "Memory of events",
            [
                Check("disk", machine.check_disk),
                Check("state folder", machine.check_state),
                Check("evidence", machine.check_evidence),
            ],
        ),
        (
            "Who is told",
            [
                Check("sounds", alerts.check_sounds),
                Check("pins", alerts.check_pins),
                Check("commands", alerts.check_commands),
                Check("mqtt", alerts.check_mqtt),
                Check("webhook", alerts.check_webhook),
                Check("notify", alerts.check_people),
                Check("heartbeat", alerts.check_heartbeat),
                Check("nobody", check_anyone),
            ],
        ),
        ("Service", [Check("permissions", machine.check_groups), Check("service", machine.check_service)]),
    ]


def check_config(target: Target) -> Iterator[CheckResult]:
    """The config file and every mistake in it."""
    if target.config is None:
        todo = "make one: bear-alarm config init"
        yield unknown("config", "none was found, so only what needs none was looked at", todo)
        return
    for mistake in target.mistakes:
        yield broken("config", mistake, "correct it, and try: bear-alarm config check")
    if not target.mistakes:
        names = ", ".join(each.name for each in target.settings.cameras) or "none"
        yield fine("config", f"{target.config} is understood; cameras: {names}")


def check_anyone(target: Target) -> Iterator[CheckResult]:
    """Whether anybody is told at all, where a config says who."""
    if target.config and not target.mistakes and not target.settings.alerts.anyone:
        yield broken("nobody", "nobody is told but the terminal", "name a sound, a relay or somebody in the config")
