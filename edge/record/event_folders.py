"""Folders of an event's evidence: whether they are there, what is in them, and the lock that keeps them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import OptionError
from edge.record.review import Review, read_review

if TYPE_CHECKING:
    from edge.record.history import PastEvent

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EvidenceFolder:
    """One folder of evidence."""

    folder: Path
    there: bool  # False: deleted to make room, or never written
    locked: bool  # never deleted to make room
    closed: str | None = None  # why it cannot be looked at

    def files(self) -> list[Path]:
        """Return the files in it, without the mark that locks it."""
        if not self.there:
            return []
        found = (path for path in self.folder.iterdir() if path.name != "keep" and not path.name.startswith("."))
        return sorted(path for path in found if path.is_file() and not path.is_symlink())

    def path(self) -> list[Any]:
        """Return where the animal was (event.json): seconds from the alarm, box_xywh, bear probability; or empty."""
        try:
            return list(json.loads((self.folder / "event.json").read_text(encoding="utf-8")).get("path") or [])
        except (OSError, ValueError):
            return []


def evidence_of(incident: PastEvent, state: Path) -> list[EvidenceFolder]:
    """Return the folders of an event's evidence, in order, those that are gone too."""
    named = dict.fromkeys(row.event.evidence for row in incident.events if row.event.evidence)
    found: dict[Path, EvidenceFolder] = {}
    for path in named:
        folder = state / Path(path).parent
        try:
            folder = _found(Path(path), state).parent
            found.setdefault(folder, _folder_at(folder))
        except OSError as error:
            found.setdefault(folder, EvidenceFolder(folder, False, False, error.strerror or type(error).__name__))
    return list(found.values())


def _folder_at(folder: Path) -> EvidenceFolder:
    """Return what this user sees of a folder. Raises OSError where it may not be read."""
    from edge.record.media_store import locked

    if not folder.is_dir():
        return EvidenceFolder(folder, False, False)
    next(folder.iterdir(), None)
    return EvidenceFolder(folder, True, locked(folder))


def _found(path: Path, state: Path) -> Path:
    """Return where a file of evidence is now, also on a card that is read in another machine."""
    named = state / path  # as it is where it is absolute
    ends = [path.parts[at:] for at, part in enumerate(path.parts) if part == "evidence"]
    moved = [state.joinpath(*parts) for parts in ends]
    return next((each for each in (named, path.absolute(), *moved) if each.exists()), named)


def folders_there(incident: PastEvent, state: Path, purpose: str) -> list[Path]:
    """Return the folders of its evidence that are there. Raises OptionError for none, and for one it cannot read."""
    found = evidence_of(incident, state)
    check_readable(found)
    there = [each.folder for each in found if each.there]
    if not there:
        raise OptionError(f"{incident.id[:8]}: has no evidence (any more), so there is nothing to {purpose}")
    return there


def check_readable(found: Sequence[EvidenceFolder]) -> None:
    """Check that this user can read each of them. Raises OptionError."""
    for each in found:
        if each.closed:
            raise OptionError(f"{each.folder}: this evidence cannot be looked at ({each.closed})")


def set_lock(incident: PastEvent, state: Path, *, locked: bool) -> None:
    """Lock its evidence, so that it is never deleted to make room, or unlock it. Raises OptionError."""
    from edge.record.media_store import lock, unlock

    for folder in folders_there(incident, state, "keep"):
        (lock if locked else unlock)(folder)


def review_of(incident: PastEvent, folders: Sequence[EvidenceFolder]) -> Review | None:
    """Return the last review: the file beside the evidence, else the journal's row."""
    found = [incident.review] if incident.review else []
    for each in folders:
        try:
            review = read_review(each.folder) if each.there else None
        except OptionError as error:
            log.warning("%s", error)
            continue
        found += [review] if review else []
    return max(reversed(found), key=lambda review: review.at, default=None)


def waits(incident: PastEvent, folders: Sequence[EvidenceFolder]) -> bool:
    """Return True for a bear event that has evidence and no review yet."""
    there = incident.first.event.kind == "bear" and any(each.there or each.closed for each in folders)
    return there and review_of(incident, folders) is None
