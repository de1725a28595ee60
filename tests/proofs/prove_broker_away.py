"""The broker and the internet are away for a day with 500 events, and come back: who is told what, and in which order.

    python tests/proofs/prove_broker_away.py

A real mosquitto, the real journal and deliverers; only the day is simulated. In the middle of it the alarm is started
again. A subscriber with QoS 1 and a lasting session must get every event, in order; people the newest and one digest.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.delivery import DEADLINES_S, Deliverer
from edge.alert.mqtt import Mqtt
from edge.alert.mqtt_settings import settings_from_url
from edge.record.outbox import Message
from edge.record.run import Clock, EventFactory
from edge.schema import Event
from tests.helpers.broker import Broker, Listener, until
from tests.helpers.journal_stage import journal as small_journal

EVENTS, DAY_S, PATIENCE_S = 500, 86_400.0, 120.0
FOREVER_S = 1e9  # a day passes in seconds: no send may count as hung for that


class Day:
    """The machine's clocks while a day is simulated."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.clock = Clock(lambda: (True, "by hand"), wall=self.wall, monotonic=self.monotonic)

    def wall(self) -> datetime:
        return datetime(2026, 5, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds


class Phones:
    """People's phones behind an internet that may be away."""

    people, pictures, key = True, False, "phones"

    def __init__(self) -> None:
        self.reachable = False
        self.messages: list[Message] = []

    def wants(self, event: Event) -> bool:
        return True

    def send(self, message: Message) -> None:
        if not self.reachable:
            raise OSError("network is unreachable")
        self.messages.append(message)

    problem = None

    def listen(self, call: object) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class Outcome:
    """What arrived: numbers of the events as they were written down, 0, 1, 2 …"""

    arrived: list[int] = field(default_factory=list)  # at the subscriber, each once, in the order of its first coming
    copies: int = 0  # that came again
    phones: list[tuple[int, ...]] = field(default_factory=list)  # one tuple a message
    took_s: float = 0.0  # from the broker's return to the last event, in real time


def live_through(folder: Path, count: int, restarts: int = 1) -> Outcome:
    """A day of ``count`` events with the broker away, and its return."""
    day, phones, outcome = Day(), Phones(), Outcome()
    numbers: dict[tuple[str, int], int] = {}
    never = patch.dict(DEADLINES_S, word=FOREVER_S, picture=FOREVER_S)
    with never, Broker(folder) as broker, Listener(broker, "bear-alarm/events") as listener:
        broker.stop()
        parts = restarts + 1
        for part in range(parts):
            run = EventFactory()
            mqtt = Mqtt(settings_from_url(f"{broker.url}?discovery=0"), ["yard"])
            journal = small_journal(folder / "state", mqtt, phones, run=run, clock=day.clock)
            deliverers = [Deliverer(channel, journal, clock=day.monotonic) for channel in (mqtt, phones)]  # type: ignore[list-item]
            for _ in range(count * part // parts, count * (part + 1) // parts):
                event = run.event("bear", "new", uuid.uuid4().hex, "yard", day.wall())
                numbers[event.boot_id, event.seq] = len(numbers)
                assert journal(event).durable
                day.seconds += DAY_S / count
            if part < restarts:
                for deliverer in deliverers:
                    deliverer.close(5.0)
                journal.close()
        assert listener.got == []
        assert phones.messages == []
        assert until(lambda: not deliverers[1]._sends.flying)  # else it may be reached with an older event
        returned = time.monotonic()
        broker.start()
        phones.reachable = True
        assert until(lambda: mqtt._connection.up, PATIENCE_S)

        def seen() -> list[int]:
            lines = [json.loads(payload) for _, payload, _ in list(listener.got)]
            return [numbers[line["boot_id"], line["seq"]] for line in lines]

        def told() -> int:
            return sum(len(message.events) for message in phones.messages)

        while (len(set(seen())) < count or told() < count) and time.monotonic() - returned < PATIENCE_S:
            day.seconds += 300.0  # as long as the outbox waits at most
            journal.beat()
            until(lambda: len(set(seen())) == count and told() >= count, 2.0)
        outcome.took_s = time.monotonic() - returned
        came = seen()
        outcome.arrived = list(dict.fromkeys(came))
        outcome.copies = len(came) - len(outcome.arrived)
        outcome.phones = [
            tuple(numbers[event.boot_id, event.seq] for event in message.events) for message in phones.messages
        ]
        for deliverer in deliverers:
            deliverer.close(5.0)
        journal.close()
    return outcome


def main() -> None:
    """Print a table, in Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        outcome = live_through(Path(folder), EVENTS)
    first, *rest = outcome.phones
    good = outcome.arrived == list(range(EVENTS)) and first == (EVENTS - 1,) and rest == [tuple(range(EVENTS - 1))]
    print(f"| broker and internet away for {DAY_S / 3600:g} h with {EVENTS} events, the alarm started again once | |")
    print("|---|---|")
    print(f"| at the subscriber, each once | {len(outcome.arrived)} of {EVENTS} |")
    print(f"| in order | {'yes' if outcome.arrived == sorted(outcome.arrived) else 'no'} |")
    print(f"| copies to be told from the first by their id | {outcome.copies} |")
    print(f"| messages to people | the newest event, then {', '.join(f'a digest of {len(each)}' for each in rest)} |")
    print(f"| from the broker's return to the last event | {outcome.took_s:.1f} s |")
    if not good:
        raise SystemExit(f"not as designed: {outcome}")


if __name__ == "__main__":
    main()
