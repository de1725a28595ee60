"""What the tests of the journal share: a channel that wants things, a time that is set by hand, small journals."""

import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unittest.mock import patch

from edge.record.journal import Journal
from edge.record.run import Clock, EventFactory

MQTT = "mqtt 10.0.0.7:1883"
PAGE = 4096


class Wants:
    """A channel as the journal sees it: it wants all events, or those of some kinds."""

    def __init__(self, key=MQTT, *, pictures=True, kinds=None):
        self.key, self.pictures, self.kinds = key, pictures, kinds

    def wants(self, event):
        return self.kinds is None or event.kind in self.kinds


class Times:
    """The machine's clocks, set by hand; ``clock`` is what a journal takes."""

    def __init__(self, synced=None):
        self.now, self.seconds, self.is_synced = datetime(2026, 5, 1, tzinfo=UTC), 100.0, synced
        self.clock = Clock(lambda: (self.is_synced, "by hand"), wall=lambda: self.now, monotonic=lambda: self.seconds)

    def pass_(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.seconds += seconds

    def set_clock(self, seconds):
        """Somebody sets the clock forward; no time passes."""
        self.now += timedelta(seconds=seconds)


def journal(folder, *routes, run=None, ballast=(4096, 0), clock=None):
    """A journal with a small ballast (bytes, room that must be free beside it)."""
    with patch.multiple("edge.record.journal", BALLAST_BYTES=ballast[0], ROOM_BYTES=ballast[1]):
        return Journal(folder, routes, run=run or EventFactory(), clock=clock)


def event(run, id_="id1", kind="bear", type_="new", camera="yard", **more):
    """An event of a run; ``more`` are further fields."""
    return replace(run.event(kind, type_, id_, camera), **more)


def ids(waiting):
    """The events' ids of what waits."""
    return [each.event.id for each in waiting]


def ask(folder, query, *values):
    """Return what the database says, read beside the journal."""
    with closing(sqlite3.connect(folder / "journal.db")) as db:
        return db.execute(query, values).fetchall()


def files(folder):
    """Every file of a folder and when it was last changed."""
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*") if path.is_file()}


def filled(folder, count=200, done=150, channel=MQTT):
    """A closed journal with events, the first of them delivered; the ids of all."""
    run = EventFactory()
    kept = journal(folder, Wants(channel), run=run)
    for i in range(count):
        kept(event(run, f"id{i}", detail="x" * 400))
    kept.done([each.row for each in kept.waiting(channel, limit=done)])
    kept.close()
    return [f"id{i}" for i in range(count)]


def pages_of(folder, table):
    """The numbers of a table's leaf pages, 1 and up, in order."""
    walk = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path"
    try:
        return [row[0] for row in ask(folder, walk, table)]
    except sqlite3.OperationalError:
        import pytest  # a child process has no use for it

        pytest.skip("this SQLite cannot say which page holds what (dbstat)")


def spoil(folder, page, random_=None):
    """Write nonsense over a page."""
    with (folder / "journal.db").open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write((random_ or random.Random(page)).randbytes(PAGE))
