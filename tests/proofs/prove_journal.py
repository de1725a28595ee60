"""What the journal promises: kill -9, power cuts, a full disk, and what it costs.

    python tests/proofs/prove_journal.py [--kills 200] [--cuts 1500]

The disk of the temporary folder is used; TMPDIR names another one.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.background import Worker
from edge.record.journal import Journal
from edge.record.run import EventFactory
from edge.schema import Event
from tests.helpers import cutting
from tests.helpers.journal_stage import Wants, event, journal
from tests.helpers.killing import kill_at_random
from tests.helpers.small_disk import fill, may_mount, there

ROOT = Path(__file__).parents[2]
EVENTS = 300
ROUNDS = 5


def killed(folder: Path, kills: int) -> None:
    """kill -9 at random instants."""
    started = time.monotonic()
    count = kill_at_random(folder, kills, seed=4)
    delivered = {id_ for id_, _, _ in count.delivered}
    twice = len(count.delivered) - len(delivered)
    same = len({(run, seq): id_ for id_, run, seq in count.delivered}) == len(delivered)
    print(f"| kill -9 at {count.kills} random instants ({time.monotonic() - started:.0f} s) | |\n|---|---|")
    print(f"| before the first event was acknowledged | {count.early} |")
    print(f"| events acknowledged | {len(count.acknowledged)} |")
    print(f"| of these not in the journal afterwards | {len(count.acknowledged - count.written)} |")
    print(f"| of these never delivered | {len(count.acknowledged - delivered)} |")
    print(f"| delivered more than once; always with the same id | {twice}; {'yes' if same else 'NO'} |")
    print(f"| what quick_check said each time; set aside | {', '.join(count.checks)}; {count.quarantined} |\n")
    assert count.acknowledged <= count.written & delivered
    assert (count.checks, count.quarantined, same) == ({"ok"}, 0, True)


def cut(folder: Path, cuts: int) -> None:
    """The power goes."""
    cutting.damaged(folder / "damaged")
    print("| the power is cut | cuts | with bytes unsynced | acts recorded | lost, damaged or delivered again |")
    print("|---|---|---|---|---|")
    for seed in range(3):
        (folder / f"life {seed}").mkdir()
        found = cutting.lives(folder / f"life {seed}", cuts // 3, seed)
        print(f"| while events flow, life {seed} | {found['cuts']} | {found['with bytes unsynced']} "
              f"| {found['acts']} | 0 |", flush=True)  # fmt: skip
    found = cutting.mendings(folder, folder / "damaged", cuts // 3, 7)
    print(f"| while a damaged journal is mended | {found['cuts']} | {found['with bytes unsynced']} "
          f"| {found['acts']} | 0 |\n")  # fmt: skip


def on_a_small_disk(disk: str) -> dict[str, list[float]]:
    """How late a local sink is called beside the journal, ms: on a disk with room and on a full one, by turns."""
    run = EventFactory()
    kept = journal(Path(disk) / "journal", Wants(), run=run, ballast=(64 << 10, 0))
    local: list[float] = []
    durable: list[bool] = []
    siren: Worker[Event] = Worker(lambda _, waited_s: local.append(waited_s * 1000.0), "siren")
    writing: Worker[Event] = Worker(lambda item, _: durable.append(kept(item).durable), "journal")
    found: dict[str, list[list[float]]] = {"room": [], "full": []}
    for _ in range(ROUNDS):
        for state, rounds in found.items():
            if state == "full":
                fill(disk)
            local.clear()
            durable.clear()
            for i in range(EVENTS // 2):
                told = event(run, f"{state}{i}")
                siren(told)
                writing(told)
                time.sleep(0.005)
            until = time.monotonic() + 60
            while len(durable) + writing.dropped < EVENTS // 2 and time.monotonic() < until:
                time.sleep(0.01)
            rounds.append([median(local), max(local), sum(durable), len(durable)])
            if state == "full":
                (Path(disk) / "filler").unlink()
                kept.beat()
    waiting = len(kept.waiting(Wants().key, limit=10_000))
    kept.close()
    table = {state: [median(each[k] for each in rounds) for k in (0, 1)] for state, rounds in found.items()}
    counts = {state: [sum(each[k] for each in rounds) for k in (2, 3)] for state, rounds in found.items()}
    return {state: table[state] + counts[state] for state in found} | {"waiting": [waiting]}


def full(folder: Path) -> None:
    """A full disk beside a local sink."""
    if not may_mount():
        print("A full disk could not be tried: no mount namespace can be had here.\n")
        return
    found = there(on_a_small_disk, folder / "disk", 8192)
    print(f"| a small disk, {ROUNDS} times by turns | local sink called after, ms | at worst, ms | ratio "
          "| of the events durable |\n|---|---|---|---|---|")  # fmt: skip
    for state in ("room", "full"):
        middle, worst, durable, told = found[state]
        print(
            f"| {state} | {middle:.3f} | {worst:.2f} | {middle / found['room'][0]:.2f} | {durable:.0f} of {told:.0f} |"
        )
    print(f"\nAfterwards {found['waiting'][0]} of {ROUNDS * EVENTS} events waited, all on the disk.\n")
    assert found["waiting"] == [ROUNDS * EVENTS]


def idle(folder: Path) -> None:
    """A day on which nothing happens."""
    disk, image = folder / "ext4", folder / "image"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(64 << 20)
    script = 'mkfs.ext4 -q "$1" && mount -o loop "$1" "$2" && shift && shift && exec "$@"'
    program = [sys.executable, str(ROOT / "tests" / "helpers" / "idle_day.py"), str(disk)]
    command = ["unshare", "-m", "--", "sh", "-c", script, "sh", str(image), str(disk), *program]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if os.name == "posix" else None
    if done is None or done.returncode:
        done = subprocess.run(program, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    counted = "kB to the block device (ext4 with its own log)" if found["device"] else "no block device could be asked"
    print(f"| a day on which nothing happens, 144 beats | {counted} | kB by the process's own count |\n|---|---|---|")
    for name in ("asked only", "beats", "beats, broker away", "floor"):
        device, process = found[name]
        words = "no beat, only asked what waits" if name == "asked only" else name
        words = "144 times 24 bytes and fsync, for comparison" if name == "floor" else words
        print(f"| {words} | {'' if device is None else f'{device / 1000:.0f}'} | {process / 1000:.0f} |")
    print()


def cost(folder: Path) -> None:
    """One event, beside the barest that SQLite can do and a bare fsync, interleaved."""
    run = EventFactory()
    kept = Journal(folder / "journal", [Wants(), Wants("people")], run=run)
    costs: dict[str, list[float]] = {"fsync": [], "bare": [], "journal": []}
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as bare, (folder / "f").open("wb") as file:
        bare.execute("PRAGMA journal_mode = WAL")
        bare.execute("PRAGMA synchronous = FULL")
        bare.execute("PRAGMA wal_autocheckpoint = 64")
        bare.execute("CREATE TABLE events(json TEXT)")
        for i in range(EVENTS):
            told = event(run, f"id{i}")
            line = told.to_json()

            def plain(line: str = line) -> None:
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())

            def insert(line: str = line) -> None:
                bare.execute("INSERT INTO events VALUES(?)", (line,))

            for name, work in (("fsync", plain), ("bare", insert), ("journal", lambda told=told: kept(told))):
                started = time.perf_counter()
                work()
                costs[name].append((time.perf_counter() - started) * 1000.0)
    kept.close()
    middle = {name: median(each) for name, each in costs.items()}
    worst = {name: sorted(each)[int(EVENTS * 0.99)] for name, each in costs.items()}
    print(f"| an event, {EVENTS} times | ms | at worst in 100, ms | ratio |\n|---|---|---|---|")
    for name, words in (("fsync", "a line and fsync"), ("bare", "a bare INSERT, WAL, synchronous=FULL"),
                        ("journal", "the journal: event, two rows of the outbox, COMMIT")):  # fmt: skip
        print(f"| {words} | {middle[name]:.2f} | {worst[name]:.2f} | {middle[name] / middle['bare']:.1f} |")


def main() -> None:
    """Print tables, in Markdown."""
    given = argparse.ArgumentParser()
    given.add_argument("--kills", type=int, default=200)
    given.add_argument("--cuts", type=int, default=1500)
    asked = given.parse_args()
    logging.getLogger("edge.record.database").setLevel(logging.ERROR)  # it warns of each damaged journal
    with tempfile.TemporaryDirectory() as folder:
        for name, prove in (("kill", lambda at: killed(at, asked.kills)), ("cut", lambda at: cut(at, asked.cuts)),
                            ("full", full), ("idle", idle), ("cost", cost)):  # fmt: skip
            (Path(folder) / name).mkdir()
            prove(Path(folder) / name)


if __name__ == "__main__":
    main()
