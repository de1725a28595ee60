"""Kills an alarm at random instants while events flow, and counts what was acknowledged and what was delivered."""

import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

CHILD = Path(__file__).parent / "journal_child.py"


@dataclass
class Count:
    """What came of it."""

    kills: int = 0
    early: int = 0  # before the first event
    acknowledged: set = field(default_factory=set)  # ids the children said
    delivered: list = field(default_factory=list)  # (id, run, seq), as often as they came
    written: set = field(default_factory=set)  # ids in the journal, seen after each kill
    checks: set = field(default_factory=set)  # what quick_check said
    quarantined: int = 0


class Receiver:
    """Takes lines on a port of this machine and answers each with one byte."""

    def __init__(self, take):
        self.take, self.server = take, socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                line, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line):
        with closing(line), line.makefile("rb") as words:
            try:
                for each in words:
                    if each.endswith(b"\n"):
                        self.take(tuple(each.decode().split()))
                        line.sendall(b"+")
            except OSError:  # it was killed
                return

    def close(self):
        self.server.close()


def kill_at_random(folder, kills, seed):
    """Kill so many children one after another on one journal, look at it after each, and let the last one deliver."""
    random_, count = random.Random(seed), Count()
    receiver = Receiver(count.delivered.append)
    for _ in range(kills):
        child = subprocess.Popen(
            [sys.executable, CHILD, "flow", folder, str(receiver.port)], stdout=subprocess.PIPE, text=True
        )
        said: list[str] = []
        reading = threading.Thread(target=lambda child=child, said=said: said.extend(child.stdout))
        reading.start()
        try:
            if random_.random() < 0.8:  # the others while it starts, opens and recovers
                until = time.monotonic() + 60
                while not said and time.monotonic() < until and child.poll() is None:
                    time.sleep(0.001)
            time.sleep(random_.uniform(0, 0.25))
        finally:
            assert child.poll() is None, "it ended by itself"
            child.send_signal(signal.SIGKILL)
            child.wait(60)
            reading.join(60)
            if child.stdout:
                child.stdout.close()
        count.kills += 1
        count.early += not said
        count.acknowledged |= {line.strip() for line in said if line.endswith("\n")}
        look(folder, count)
    drain = subprocess.run(
        [sys.executable, CHILD, "drain", folder, str(receiver.port)], timeout=300, check=False, capture_output=True
    )
    assert drain.returncode == 0, drain.stderr.decode()
    receiver.close()
    look(folder, count)
    count.quarantined = len(list(Path(folder).glob("quarantine/*")))
    return count


def look(folder, count):
    """What the journal holds now, read as another process would."""
    if not (Path(folder) / "journal.db").exists():
        return
    with closing(sqlite3.connect(f"file:{folder}/journal.db?mode=ro", uri=True, timeout=30)) as db:
        count.checks.add(db.execute("PRAGMA quick_check").fetchone()[0])
        if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'events'").fetchone():
            count.written |= {row[0] for row in db.execute("SELECT event_id FROM events")}
