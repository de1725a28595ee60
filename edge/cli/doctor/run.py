"""The doctor's list of checks, and the round that runs them: each within its time, and none ends the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from edge.alert.redact import scrub
from edge.background import DeadlineError, call_with_deadline
from edge.cli.doctor import alerts, board, cameras, model, packages, permissions, pins, service, storage
from edge.cli.doctor.findings import CheckResult, broken, fine, unknown
from edge.cli.doctor.target import Target

log = logging.getLogger(__name__)

LIMIT_S = 30.0
OUR_FAULT = "report it, with `bear-alarm doctor --bundle report.zip`"


class Check(NamedTuple):
    """One thing to look at, and how long that may take."""

    group: str
    name: str
    look: Callable[[Target], Iterable[CheckResult]]
    limit_s: float = LIMIT_S  # until its next finding


def check_config(target: Target) -> Iterator[CheckResult]:
    """Check the config file: every mistake in it is a finding."""
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
    """Check that a config names at least one way to notify."""
    if target.config and not target.mistakes and not target.settings.alerts.anyone:
        yield broken("nobody", "only the terminal is notified", "name a sound, a relay or somebody in the config")


CHECKS = (
    Check(packages.GROUP, "packages", packages.check_packages, packages.IMPORT_S + 5),
    Check("Config", "config", check_config),
    Check("Config", "secrets", permissions.check_secrets),
    Check("Model", "model", model.check_model, model.WITHIN_S + 5),
    Check("Cameras", "cameras", cameras.check_cameras, cameras.WITHIN_S + 5),
    Check("Board", "board", board.check_board),
    Check("Board", "power", board.check_power),
    Check("Board", "clock", board.check_clock),
    Check("Board", "network", board.check_network),
    Check("Memory of events", "disk", storage.check_disk),
    Check("Memory of events", "state folder", storage.check_state),
    Check("Memory of events", "evidence", storage.check_evidence),
    Check("Alerts", "sounds", alerts.check_sounds),
    Check("Alerts", "pins", pins.check_pins),
    Check("Alerts", "commands", alerts.check_commands),
    Check("Alerts", "mqtt", alerts.check_mqtt),
    Check("Alerts", "webhook", alerts.check_webhook),
    Check("Alerts", "notify", alerts.check_people),
    Check("Alerts", "heartbeat", alerts.check_heartbeat),
    Check("Alerts", "nobody", check_anyone),
    Check("Service", "permissions", permissions.check_groups),
    Check("Service", "service", service.check_service),
)


def run_checks(target: Target, checks: Iterable[Check] = CHECKS) -> Iterator[CheckResult]:
    """Yield every finding as soon as it is there."""
    for check in checks:
        for finding in _within_its_time(check, target):
            yield replace(finding, group=check.group)


def _within_its_time(check: Check, target: Target) -> Iterator[CheckResult]:
    """Await each finding for so long: a disk or a name server that does not answer delays nothing but its own line."""

    def looked() -> Iterator[CheckResult]:
        yield from check.look(target)

    findings = looked()
    while True:
        try:
            finding = call_with_deadline(lambda: next(findings, None), check.limit_s, f"doctor {check.name}")
        except DeadlineError:
            yield unknown(check.name, f"gave no answer within {check.limit_s:g} s", "try again when the machine rests")
            return
        except (Exception, SystemExit) as error:  # whatever it is: the other checks go on
            log.debug("a check failed", exc_info=True)
            words = scrub(f"{type(error).__name__}: {error}")
            yield broken(check.name, f"could not be checked because of an internal error ({words})", OUR_FAULT)
            return
        if finding is None:
            return
        yield finding
