"""The list of everything that is looked at, in groups."""

from __future__ import annotations

from collections.abc import Iterator

from edge.doctor import (
    cameras,
    interpreter,
    keeping,
    machine,
    model,
    permissions,
    service,
    telling_away,
    telling_here,
    timekeeping,
)
from edge.doctor.finding import Finding, broken, fine, unknown
from edge.doctor.patient import Patient
from edge.doctor.rounds import Check

PACKAGES = "Packages"


def groups_for(patient: Patient) -> list[tuple[str, list[Check]]]:
    """Each group's title and checks; what says nothing of this device yields nothing."""
    return [
        (PACKAGES, [Check("packages", interpreter.check_packages, interpreter.IMPORT_S + 5)]),
        ("Config", [Check("config", check_config), Check("secrets", permissions.check_secrets)]),
        ("Model", [Check("model", model.check_model, model.WITHIN_S + 5)]),
        ("Cameras", [Check("cameras", cameras.check_cameras, cameras.WITHIN_S + 5)]),
        (
            "Board",
            [
                Check("board", machine.check_board),
                Check("power", machine.check_power),
                Check("clock", timekeeping.check_clock),
                Check("network", machine.check_network),
            ],
        ),
        (
            "Memory of events",
            [
                Check("disk", keeping.check_disk),
                Check("state folder", keeping.check_state),
                Check("evidence", keeping.check_evidence),
            ],
        ),
        (
            "Who is told",
            [
                Check("sounds", telling_here.check_sounds),
                Check("pins", telling_here.check_pins),
                Check("commands", telling_here.check_commands),
                Check("mqtt", telling_away.check_mqtt),
                Check("webhook", telling_away.check_webhook),
                Check("notify", telling_away.check_people),
                Check("heartbeat", telling_away.check_heartbeat),
                Check("nobody", check_anyone),
            ],
        ),
        ("Service", [Check("permissions", permissions.check_groups), Check("service", service.check_service)]),
    ]


def check_config(patient: Patient) -> Iterator[Finding]:
    """The config file and every mistake in it."""
    if patient.config is None:
        todo = "make one: bear-alarm config init"
        yield unknown("config", "none was found, so only what needs none was looked at", todo)
        return
    for mistake in patient.mistakes:
        yield broken("config", mistake, "correct it, and try: bear-alarm config check")
    if not patient.mistakes:
        names = ", ".join(each.name for each in patient.settings.cameras) or "none"
        yield fine("config", f"{patient.config} is understood; cameras: {names}")


def check_anyone(patient: Patient) -> Iterator[Finding]:
    """Whether anybody is told at all, where a config says who."""
    if patient.config and not patient.mistakes and not patient.settings.alerts.anyone:
        yield broken("nobody", "nobody is told but the terminal", "name a sound, a relay or somebody in the config")
