"""The doctor's round: every check in its turn, each within its time, and what fails of our own said as such."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from edge.alert.redact import scrub
from edge.doctor.finding import Finding, broken, unknown
from edge.doctor.patient import Patient

log = logging.getLogger(__name__)

Look = Callable[[Patient], Iterable[Finding]]
LIMIT_S = 30.0
OUR_FAULT = "report it, with `bear-alarm doctor --bundle report.zip`"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at, and how long that may take."""

    name: str
    look: Look
    limit_s: float = LIMIT_S  # until its next finding


def examine(patient: Patient, groups: Iterable[tuple[str, Iterable[Check]]] | None = None) -> Iterator[Finding]:
    """Every finding, each as soon as it is there, group by group."""
    if groups is None:
        from edge.doctor.checks import groups_for

        groups = groups_for(patient)
    for title, checks in groups:
        for check in checks:
            for finding in _looked(check, patient):
                yield replace(finding, group=title)


def _looked(check: Check, patient: Patient) -> Iterator[Finding]:
    """In a thread of its own: a disk or a name server that does not answer holds up nothing but its line."""
    found: queue.SimpleQueue[Finding | None] = queue.SimpleQueue()

    def look() -> None:
        try:
            for finding in check.look(patient):
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
