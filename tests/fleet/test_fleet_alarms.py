"""Messages about silent devices: a few by name, the many in one, and again when they are back."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from edge.alert.notify import title_and_body
from edge.alert.text import text_of
from edge.fleet.alarms import FleetAlarms
from edge.fleet.devices import Camera, Known
from edge.record.outbox import Message
from edge.schema import Event
from edge.settings import AlertSettings

YARD = Camera("yard", fresh=True, trouble=None, stage=None, since=0.0)
NORTH = replace(Known("north", 0.0).device(0.0), state="silent", cameras=(YARD,))


class View:
    """The devices of a fleet, by name, as the alarms ask for them."""

    def __init__(self):
        self.known = {}
        self.settled = True

    def are(self, state, *names):
        for name in names:
            self.known[name] = replace(NORTH, name=name, state=state, heard_at=time.time() - 3 * 3600.0)

    def silent(self):
        return [each for each in self.known.values() if self.settled and each.state in {"silent", "offline"}]

    def device(self, name):
        return self.known.get(name)

    def problem(self):
        return None

    trouble = problem


@contextmanager
def alarms(view, folder):
    """Yield what lets so many seconds pass, and returns the events that were published meanwhile."""
    events: list[Event] = []
    now = time.monotonic()
    alarms = FleetAlarms(view, AlertSettings(bell=False), folder)
    alarms._alerting.sinks.append(events.append)

    def after(seconds):
        nonlocal now
        events.clear()
        for _ in range(seconds // 5):
            now += 5.0
            alarms.tick(now)
        return list(events)

    try:
        yield after
    finally:
        alarms.close(1.0)


def labels(events):
    return [(event.type, event.label) for event in events]


def test_two_hundred_devices_behind_a_dead_router_are_six_messages_and_six_when_they_are_back(tmp_path):
    view, names = View(), [f"hive-{number:03}" for number in range(217)]
    parts = ["devices", *(f"device {name}" for name in names[:5])]
    with alarms(view, tmp_path) as after:
        view.are("offline", *names)
        assert after(55) == []
        published = after(10)
        assert labels(published) == [("new", part) for part in parts]
        assert published[0].detail == "212 more devices are silent"
        assert published[1].detail.startswith("Device hive-000 is offline since ")
        assert published[1].detail.endswith(" (its camera is yard)")
        assert after(600) == []
        view.settled = False  # without a broker what is not well stays so, and nothing is added
        assert after(600) == []
        view.settled = True
        view.are("well", *names)
        assert labels(after(35)) == [("end", part) for part in parts]
        assert after(600) == []


def test_without_a_broker_no_device_is_said_to_be_silent(tmp_path):
    view = View()
    with alarms(view, tmp_path) as after:
        view.are("offline", *"mnopqr")
        assert after(50) == []
        view.settled = False
        assert after(600) == []


def test_a_device_that_is_named_stays_so_and_one_that_was_removed_makes_room(tmp_path):
    view = View()
    with alarms(view, tmp_path) as after:
        view.are("silent", *"mnopq")
        assert len(after(65)) == 5
        view.are("silent", "a")
        assert [event.detail for event in after(65)] == ["1 more device is silent"]
        del view.known["m"]
        assert labels(after(70)) == [("end", "device m"), ("end", "devices"), ("new", "device a")]


def test_a_phone_reads_which_device_it_is_and_no_control_characters(tmp_path):
    view = View()
    view.known["north"] = replace(NORTH, cameras=(replace(YARD, name="\x1b[2Jyard"),))
    with alarms(view, tmp_path) as after:
        (event,) = after(65)
    title, body = title_and_body(Message((event,), "word"), datetime.now(UTC))
    assert title == "Device north has a problem"
    body, clock = body.splitlines()
    assert clock.startswith("The sender's clock was not set")
    assert body == "Device north is silent, never heard (its camera is [2Jyard)"
    assert text_of(Message((event,), "word"), datetime.now(UTC)).startswith(f"{body}, ")
