"""An alarm that is killed or loses its power: events flow into its journal, and are delivered, until it ends.

python tests/helpers/journal_child.py flow FOLDER PORT     for ever, delivered to a receiver on this machine
python tests/helpers/journal_child.py drain FOLDER PORT    deliver what waits, then end
python tests/helpers/journal_child.py hold FOLDER          one event, then wait
python tests/helpers/journal_child.py life FOLDER SEED     a short life of a journal, on standard output
"""

import os
import random
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.record import database
from edge.record import journal as journal_module
from edge.record.database import connect
from edge.record.run import EventFactory
from tests.helpers.journal_stage import Wants
from tests.helpers.journal_stage import journal as small

CHANNEL = "receiver"


def say(*words):
    """One line on standard output, in one write."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Delivering(threading.Thread):
    """Sends the id of each row that waits to the receiver and marks it when that has answered."""

    def __init__(self, journal, port):
        super().__init__(daemon=True)
        self.journal, self.line = journal, socket.create_connection(("127.0.0.1", port), 30)
        self.new = threading.Event()
        journal.listen(self.new.set)

    def run(self):
        while True:
            self.new.clear()
            if not self.all_that_waits():
                self.new.wait(0.5)

    def all_that_waits(self):
        waiting = self.journal.waiting(CHANNEL, limit=10)
        for each in waiting:
            self.line.sendall(f"{each.event.id} {each.event.boot_id} {each.event.seq}\n".encode())
            assert self.line.recv(1)
            self.journal.done([each.row])
        return len(waiting)


def flow(folder, port):
    """Write events until it is killed; print the id of each when the journal has acknowledged it."""
    journal_module.KEEP_EVENTS = 300
    run = EventFactory()
    journal = small(folder, Wants(CHANNEL), run=run)
    Delivering(journal, int(port)).start()
    for i in range(1_000_000):
        event = journal(run.event("bear", "new", f"{run.id[:12]}-{i}", "yard", detail="x" * 200))
        if event.durable:
            say(event.id)
        if i % 20 == 19:
            journal.beat()
        time.sleep(0.001)


def drain(folder, port):
    """Deliver all that waits."""
    journal = small(folder, Wants(CHANNEL), run=EventFactory())
    delivering = Delivering(journal, int(port))
    while delivering.all_that_waits():
        pass
    assert journal.durable
    journal.close()


def hold(folder):
    """One event that nobody delivers, until it is killed."""
    run = EventFactory()
    journal = small(folder, Wants(CHANNEL), run=run)
    assert journal(run.event("bear", "new", "held", "yard")).durable
    say("kept")
    time.sleep(120)


def careless(folder, seed):
    """The same life, but nothing is brought to the disk: what the cutting of power must find."""

    def careless_connect(*given):
        db = connect(*given)
        db.execute("PRAGMA synchronous = OFF")
        return db

    vars(database)["connect"] = careless_connect
    life(folder, seed)


def mend(folder):
    """Open a journal that is damaged, and end."""
    small(folder, Wants(CHANNEL), run=EventFactory()).close()


def life(folder, seed):
    """Runs that write, with and without a picture, deliver, beat and trim; each act is printed once acknowledged."""
    journal_module.KEEP_EVENTS = 30
    random_ = random.Random(int(seed))
    for name in ("first", "second"):
        run = EventFactory(f"{seed}-{name}")
        journal = small(folder, Wants(CHANNEL), run=run)
        for i in range(40):
            picture = str(folder / "alarm.jpg") if random_.random() < 0.3 else None
            words = "x" * random_.randrange(600)
            event = journal(run.event("bear", "new", f"{name}{i}", "yard", detail=words, evidence=picture))
            assert event.durable
            say("kept", event.id)
            if picture:
                say("pictured", event.id)
            if random_.random() < 0.5:
                rows = journal.waiting(CHANNEL, limit=random_.randrange(1, 4))
                journal.done([each.row for each in rows])
                for each in rows:
                    say("done", each.event.id, each.part)
            if random_.random() < 0.1:
                journal.beat()
        journal.close()


if __name__ == "__main__":
    ways: dict[str, Any] = {
        "flow": flow, "drain": drain, "hold": hold, "mend": mend, "life": life, "careless": careless,
    }  # fmt: skip
    ways[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
