"""A state folder as an alarm leaves it, with whatever journal and evidence a test of reading it needs."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edge.cli.app import as_command
from edge.cli.events.command import app
from edge.files import JOURNAL
from edge.record import database
from edge.schema import Event, utc_text

NIGHT = datetime(2026, 11, 24, 2, 12, 7, tzinfo=UTC)
RUN = "0f" * 16


class StateFolder:
    """Writes rows as the journal does, with times of the test's choosing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / JOURNAL
        self.seq = 0
        with closing(database.connect(self.path)) as db:
            database.prepare(db)
        self.run(RUN)

    def sql(self, query: str, *values: Any) -> int:
        """One statement, on the disk when this returns; the row it made."""
        with closing(database.connect(self.path)) as db:
            return int(db.execute(query, values).lastrowid or 0)

    def run(self, boot_id: str, **columns: Any) -> None:
        """A run of the alarm."""
        columns = {"started_at": utc_text(NIGHT), "boot_id": boot_id} | columns
        self.sql(f"INSERT INTO runs({','.join(columns)}) VALUES({','.join('?' * len(columns))})", *columns.values())

    def event(self, id_: str, type_: str, after_s: float = 0.0, *, kind: str = "bear", **more: Any) -> int:
        """An event so many seconds into the night; its row."""
        self.seq += 1
        more = {"camera": "yard", "boot_id": RUN, "clock_synced": True, "durable": True} | more
        at = utc_text(NIGHT + timedelta(seconds=after_s))
        event = Event(kind, type_, id_, self.seq, more.pop("boot_id"), more.pop("camera"), at, **more)  # type: ignore[arg-type]
        return self.sql(
            "INSERT INTO events(event_id, kind, type, camera, boot_id, seq, captured_at, evidence, json)"
            " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
            event.id, event.kind, event.type, event.camera, event.boot_id, event.seq, at, event.evidence,
            event.to_json(),
        )  # fmt: skip

    def bear(self, id_: str, after_s: float = 0.0, *, lasts_s: float = 42.0, **more: Any) -> int:
        """A bear that comes and goes; the row of its first event."""
        bear: dict[str, Any] = {
            "label": "brown_bear",
            "score": 0.91,
            "top_score": 0.91,
            "box_xywh": (0.1, 0.2, 0.3, 0.4),
        } | more
        row = self.event(id_, "new", after_s, **bear)
        self.event(id_, "end", after_s + lasts_s, **bear | {"top_score": 0.98})
        return row

    def delivery(self, row: int, channel: str, *, part: str = "word", state: str = "done", **more: Any) -> None:
        """One row of the outbox."""
        at = utc_text(NIGHT)
        columns = {"event": row, "channel": channel, "part": part, "state": state, "queued_at": at, "attempts": 1}
        columns |= {"settled_at": None if state == "waiting" else at} | more
        self.sql(f"INSERT INTO outbox({','.join(columns)}) VALUES({','.join('?' * len(columns))})", *columns.values())

    def evidence(self, id_: str, **files: bytes) -> str:
        """Files of evidence; the path an event names."""
        folder = self.folder / "evidence" / "2026-11-24" / f"021207-yard-{id_[:8]}"
        folder.mkdir(parents=True)
        for name, data in ({"alarm.jpg": b"jpeg", "clip.mp4": b"film"} | files).items():
            (folder / name).write_bytes(data)
        return str(folder / "alarm.jpg")


def events_of(state: StateFolder, capsys: Any, *words: object) -> str:
    """Return what `bear-alarm events WORDS --state …` prints of it."""
    as_command("events", app).main(args=[*map(str, words), "--state", str(state.folder)], standalone_mode=False)
    return str(capsys.readouterr().out)
