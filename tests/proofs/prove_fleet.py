"""A fleet of simulated devices whose broker and subscriber are killed again and again: is each event there once?

    python tests/proofs/prove_fleet.py [--devices 1000] [--events 100000] [--kills 30] [--rate 500]

Debian's mosquitto with the limits of docs/fleet/mosquitto.conf (saved each minute: ``kill -9`` loses what came since),
and the subscriber as a process of its own. First a quiet time, in which one device more publishes an event now and
then; then the events with the kills; then a fifth of them in the broker's queue while the subscriber is away: how fast
it reads.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.record.run import EventFactory
from tests.helpers.broker import Broker, Listener, until
from tests.helpers.simulated_devices import key_of, name_of

HELPERS = Path(__file__).parents[1] / "helpers"
CONFIG = Path(__file__).parents[2] / "docs" / "fleet" / "mosquitto.conf"
PREFIX, EVERY_S = "bears", 30.0
PROCESSES = 2  # that share the devices
AWAY_S = 2.0  # a killed program, at most
QUIET_EVENTS, QUIET_S = 100, 0.2
PATIENCE_S = 400.0
COST_S, COST_RATE = 20, 200
LIMITS = re.findall(r"^(?:max_|autosave_|memory_|persistent_client_).*", CONFIG.read_text("utf-8"), re.MULTILINE)
LASTING = "\n".join(["autosave_on_changes false", "queue_qos0_messages false", "log_type none", *LIMITS])


@dataclass
class Outcome:
    """Figures of one run; ``missing`` and ``copies`` must be 0."""

    missing: int = 0
    copies: int = 0
    unknown: int = 0  # in the database, and never published
    kills: dict[str, int] = field(default_factory=lambda: {"broker": 0, "subscriber": 0})
    again: int = 0  # events in all answers to replay
    first: int = 0  # of these, that had not come before
    answers: int = 0
    pictures: tuple[int, int] = (0, 0)  # kept, published
    whole_s: float = 0.0  # from the last kill to the last event that was missing
    latencies_ms: list[float] = field(default_factory=list)
    read_per_s: float = 0.0  # events, from the broker's queue
    rss_mb: dict[str, float] = field(default_factory=lambda: {"broker": 0.0, "subscriber": 0.0})
    database_bytes: int = 0


class Subscriber:
    """A process of the real fleet."""

    def __init__(self, url: str, folder: Path) -> None:
        self._words = [sys.executable, str(HELPERS / "fleet_child.py"), f"{url}/{PREFIX}", str(folder)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        self.process = subprocess.Popen(self._words, stdin=subprocess.PIPE)

    def stop(self) -> None:
        """Kill it."""
        if self.process:
            assert self.process.poll() is None, "the subscriber ended by itself"
            self.process.kill()
            self.process.communicate()
            self.process = None


class Senders:
    """Processes of simulated devices."""

    def __init__(self, port: int, devices: int, every_s: float = EVERY_S) -> None:
        self.sent = dict.fromkeys(range(devices), 0)
        self._spans = [range(devices * i // PROCESSES, devices * (i + 1) // PROCESSES) for i in range(PROCESSES)]
        script = str(HELPERS / "simulated_devices.py")
        self._processes = [
            subprocess.Popen(
                [sys.executable, script, str(port), PREFIX, str(span.start), str(len(span)), str(every_s)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for span in self._spans
        ]  # fmt: skip

    def send(self, events: int, per_second: float) -> threading.Thread:
        """Have so many events published; the thread that is returned ends when the broker has them all."""
        for process, span in zip(self._processes, self._spans, strict=True):
            share = events // PROCESSES
            assert process.stdin
            process.stdin.write(f"{share} {per_second / PROCESSES}\n")
            process.stdin.flush()
            for left in range(share):
                self.sent[span[left % len(span)]] += 1
        thread = threading.Thread(target=lambda: [process.stdout.readline() for process in self._processes])  # type: ignore[union-attr]
        thread.start()
        return thread

    def close(self) -> dict[str, int]:
        """End them, and return what they counted."""
        said = [json.loads(process.communicate()[0].splitlines()[-1]) for process in self._processes]
        return {what: sum(each[what] for each in said) for what in said[0]}

    def kill(self) -> None:
        """End those that still run."""
        for process in self._processes:
            process.kill()
            process.communicate()


@contextmanager
def measured(outcome: Outcome, broker: Broker, subscriber: Subscriber) -> Iterator[None]:
    """Keep the most memory that each of the two takes."""
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.5):
            for what, process in (("broker", broker.process), ("subscriber", subscriber.process)):
                with suppress(psutil.Error):
                    if process:
                        rss_mb = psutil.Process(process.pid).memory_info().rss / 1e6
                        outcome.rss_mb[what] = max(outcome.rss_mb[what], rss_mb)

    sampling = threading.Thread(target=sample, daemon=True)
    sampling.start()
    try:
        yield
    finally:
        over.set()
        sampling.join()


def look(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """Return rows of the subscriber's database, as another process sees them; none while it is not there yet."""
    address = f"file:{folder}/fleet.db?mode=ro"
    with suppress(sqlite3.OperationalError), closing(sqlite3.connect(address, uri=True, timeout=30)) as db:
        return db.execute(query).fetchall()
    return []


def begin(folder: Path, senders: Senders) -> None:
    """Let each device be known, and have two events; a fleet asks for nothing older than its first contact."""
    devices = len(senders.sent)
    known = "SELECT count(*) FROM devices WHERE name != 'probe'"
    assert until(lambda: look(folder, known) == [(devices,)], PATIENCE_S), "not all devices are known"
    senders.send(2 * devices, COST_RATE).join()
    assert until(lambda: count(folder) == sum(senders.sent.values()), PATIENCE_S), "not all first events are there"


def count(folder: Path) -> int:
    """Return how many events of the simulated devices are there."""
    return sum(found for (found,) in look(folder, "SELECT count(*) FROM events WHERE device != 'probe'"))


def quiet(folder: Path, broker: Broker, events: int) -> list[float]:
    """Publish one event after another; return the milliseconds until each is in the database."""
    run, found = EventFactory(), []
    address = f"file:{folder}/fleet.db?mode=ro"
    query = "SELECT 1 FROM events WHERE device = 'probe' AND boot_id = ? AND seq = ?"
    reading = closing(sqlite3.connect(address, uri=True, timeout=30))
    with Listener(broker, f"{PREFIX}/probe/replay", "probe") as probe, reading as db:
        probe.say(f"{PREFIX}/probe/available", "online")
        for _ in range(events):
            event = run.event("bear", "new", uuid.uuid4().hex, "yard")
            began = time.perf_counter()
            probe.say(f"{PREFIX}/probe/events", event.to_json())
            while not db.execute(query, (event.boot_id, event.seq)).fetchone():
                assert time.perf_counter() < began + 60.0, "an event does not arrive"
                time.sleep(0.001)
            found.append(1000 * (time.perf_counter() - began))
            time.sleep(QUIET_S)
    return found


def live_through(
    folder: Path, *, devices: int, events: int, kills: int, rate: float, probes: int = QUIET_EVENTS, seed: int = 22
) -> Outcome:
    """Let all of it happen once; the first kill is that of the subscriber, and of the broker while it is away."""
    outcome, chance = Outcome(), random.Random(seed)
    state = folder / "fleet"
    with Broker(folder, config=LASTING) as broker:
        subscriber, senders = Subscriber(broker.url, state), Senders(broker.port, devices)
        try:
            with measured(outcome, broker, subscriber):
                subscriber.start()
                begin(state, senders)
                outcome.latencies_ms = quiet(state, broker, probes)

                began = time.monotonic()
                sending = senders.send(events - events // 5, rate)
                took_s = (events - events // 5) / rate
                moments = [*sorted(chance.uniform(0.05, 0.9) for _ in range(kills - 1)), 0.97]
                for number, moment in enumerate(moments):
                    time.sleep(max(began + moment * took_s - time.monotonic(), 0.0))
                    what = "both" if number == 0 else chance.choice(("broker", "subscriber", "both"))
                    killed = time.monotonic()
                    if what != "broker":
                        subscriber.stop()
                        outcome.kills["subscriber"] += 1
                        time.sleep(chance.uniform(0.5, AWAY_S))
                    if what != "subscriber":
                        broker.stop(signal.SIGKILL)
                        outcome.kills["broker"] += 1
                        time.sleep(chance.uniform(0, AWAY_S))
                        broker.start()
                    if what != "broker":
                        subscriber.start()
                sending.join()
                until(lambda: count(state) >= sum(senders.sent.values()), PATIENCE_S)
                outcome.whole_s = time.monotonic() - killed

                subscriber.stop()
                senders.send(events // 5, 1e6).join()
                before = count(state)
                subscriber.start()
                assert until(lambda: count(state) > before, PATIENCE_S)
                first, began = count(state), time.monotonic()
                until(lambda: count(state) >= sum(senders.sent.values()), PATIENCE_S)
                outcome.read_per_s = (count(state) - first) / (time.monotonic() - began)
            said = senders.close()
        finally:
            senders.kill()
            if subscriber.process:
                subscriber.process.communicate()
    outcome.again, outcome.answers = said["again"], said["answers"]
    judge(outcome, state, senders.sent)
    outcome.first = len(set((state / "replayed").read_text().splitlines()))
    outcome.pictures = len(list((state / "pictures").glob("**/*.jpg"))), said["pictures"]
    outcome.database_bytes = (state / "fleet.db").stat().st_size
    return outcome


def cost(folder: Path, devices: int) -> tuple[Any, Any]:
    """Return the milliseconds of CPU of subscriber and broker, for a state (each device sends one a second), an event.

    Each an array (2,) of both programs.
    """
    with Broker(folder, config=LASTING) as broker:
        subscriber, senders = Subscriber(broker.url, folder / "fleet"), Senders(broker.port, devices, 1.0)

        def used_ms() -> Any:
            both = [psutil.Process(each.process.pid) for each in (subscriber, broker) if each.process]
            return np.array([1000 * sum(each.cpu_times()[:2]) for each in both])

        try:
            subscriber.start()
            begin(folder / "fleet", senders)
            used = []
            for events in (0, COST_S * COST_RATE):
                before = used_ms()
                sending = senders.send(events, COST_RATE)
                time.sleep(COST_S)
                sending.join()
                used.append(used_ms() - before)
        finally:
            senders.kill()
            subscriber.stop()
    return used[0] / (COST_S * devices), (used[1] - used[0]) / (COST_S * COST_RATE)


def judge(outcome: Outcome, state: Path, sent: dict[int, int]) -> None:
    """Compare the database with what was published, event by event."""
    rows = look(state, "SELECT device, boot_id, seq FROM events WHERE device != 'probe'")
    expected = {(name_of(device), *key_of(device, event)) for device, events in sent.items() for event in range(events)}
    found = set(rows)
    outcome.copies = len(rows) - len(found)
    outcome.missing, outcome.unknown = len(expected - found), len(found - expected)


def main() -> None:
    """Print a table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--rate", type=float, default=500.0, help="events a second, over all devices")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = live_through(Path(folder), **vars(options))
    with tempfile.TemporaryDirectory() as folder:
        state_ms, event_ms = cost(Path(folder), options.devices)
    total = options.events + 2 * options.devices
    median, most = np.percentile(outcome.latencies_ms, [50, 95])
    print(f"| {options.devices:,} devices, {total:,} events, broker killed {outcome.kills['broker']} times, "
          f"subscriber {outcome.kills['subscriber']} times | |")  # fmt: skip
    print("|---|---|")
    print(f"| missing; twice; unknown | {outcome.missing}; {outcome.copies}; {outcome.unknown} |")
    print(f"| events in {outcome.answers:,} answers to replay; new ones | {outcome.again:,}; {outcome.first:,} |")
    print(f"| pictures kept, of those published | {outcome.pictures[0]:,} of {outcome.pictures[1]:,} |")
    print(f"| read from the broker's queue, events a second | {outcome.read_per_s:.0f} |")
    print(f"| published to in the database, quiet: median; 95 % | {median:.0f}; {most:.0f} ms |")
    for what, program in enumerate(("subscriber", "broker")):
        print(f"| CPU of the {program} for a state; for an event | {state_ms[what]:.2f}; {event_ms[what]:.2f} ms |")
    print(f"| from the last kill until every event is there | {outcome.whole_s:.0f} s |")
    most_mb = outcome.rss_mb
    print(f"| memory at most: subscriber; broker | {most_mb['subscriber']:.0f}; {most_mb['broker']:.0f} MB |")
    print(f"| database | {outcome.database_bytes / 1e6:.0f} MB, {outcome.database_bytes / total:.0f} bytes an event |")
    if outcome.missing or outcome.copies or outcome.unknown:
        raise SystemExit("not each event once")


if __name__ == "__main__":
    main()
