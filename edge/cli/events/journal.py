"""Open the journal, and find events in it. Where there are none, explain in one sentence what there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.options import no_such_camera
from edge.errors import OptionError
from edge.files import JOURNAL, SERVICE, state_folder

if TYPE_CHECKING:
    from edge.record.history import JournalReader, PastEvent

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class NothingRecordedError(OptionError):
    """No alarm has kept a journal here yet."""


class Kind(StrEnum):
    """Name the kinds of events."""

    bear = "bear"
    camera = "camera"
    health = "health"


@contextmanager
def open_journal(state: Path | None) -> Iterator[JournalReader]:
    """Yield the journal. Raises OptionError without one: NothingRecordedError where no folder was named."""
    from edge.record.history import JournalReader, NoJournalError

    folder = state_folder(state)
    try:
        journal = JournalReader(folder / JOURNAL)
    except NoJournalError as error:
        if state is None:
            raise NothingRecordedError(_no_journal(folder)) from None
        if not folder.is_dir():
            what = "is no folder" if folder.exists() else "no such folder"
            raise OptionError(f"--state {state}: {what}; name the folder of the alarm's journal") from None
        raise OptionError(f"{error}; name the folder of an alarm that has run, or leave --state out") from None
    with journal:
        yield journal


def find_events(state: Path | None, ids: list[str]) -> list[PastEvent]:
    """Return the events these ids name, each once. Raises OptionError."""
    with open_journal(state) as journal:
        found = {one.id: one for one in map(journal.find, ids)}
    return list(found.values())


def _no_journal(folder: Path) -> str:
    service = SERVICE / JOURNAL
    hint = f"; the service's is shown by --state {SERVICE}" if folder != SERVICE and _visible(service) else ""
    return (
        f"nothing was recorded yet: {folder} holds no journal{hint}. `bear-alarm watch` keeps one of live cameras; "
        "the demo and clips leave their pictures in ./evidence, and are recorded here "
        "only with --state, a config or a channel over a network"
    )


def _visible(path: Path) -> bool:
    """Return True if this user can see the file."""
    try:
        return path.exists()
    except OSError:
        return False


def parse_since(word: str | None) -> datetime | None:
    """Parse --since: a duration back from now, or a date with or without a time, local unless it has a zone."""
    if word is None:
        return None
    ago = re.fullmatch(r"\s*(\d{1,6})\s*([mhdw])\s*", word.lower())
    try:
        if ago:
            return datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        return datetime.fromisoformat(word.strip().replace("z", "Z")).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise OptionError(f"--since {word!r}: give 30m, 12h, 2d, 1w, or a date like 2026-11-24") from None


def check_camera(journal: JournalReader, camera: str | None) -> None:
    """Check that the journal has events of this camera. Raises OptionError."""
    names = journal.cameras()
    if camera and names and camera not in names:
        raise no_such_camera(camera, names, "journal")


def no_event(journal: JournalReader, kind: Kind | None, camera: str | None, after: datetime | None) -> str:
    """Return one sentence: which event was looked for and not found, and what there is."""
    asked = f" of kind {kind.value}" if kind else ""
    asked += f" from camera {camera}" if camera else ""
    asked += f" since {after.astimezone():%Y-%m-%d %H:%M}" if after else ""
    newest = journal.incidents(limit=1)
    if not newest:
        return "Nothing has happened yet: the journal is there and holds no event."
    last = newest[0].first
    return f"No event{asked}; the last one of all was on {last.at.astimezone():%Y-%m-%d at %H:%M} ({last.event.kind})."
