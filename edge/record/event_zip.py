"""Events and their evidence as a zip to hand on, written part by part."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.errors import OptionError
from edge.record.event_folders import check_readable, evidence_of
from edge.record.event_words import label_of, moment

if TYPE_CHECKING:
    from edge.record.history import PastEvent

COMPRESSED = frozenset({".jpg", ".jpeg", ".png", ".mp4"})  # compressing them again gains nothing
PART_BYTES = 1 << 20


class _Sink:
    """A file that is only written to, and emptied by its reader."""

    def __init__(self) -> None:
        self._held = bytearray()

    def write(self, data: bytes) -> int:
        """Take some bytes."""
        self._held += data
        return len(data)

    def flush(self) -> None:
        """Do nothing: ``take`` gives all there is."""

    def take(self) -> bytes:
        """Return what was written since the last time."""
        taken, self._held = bytes(self._held), bytearray()
        return taken


def zip_events(incidents: Sequence[PastEvent], state: Path, counts: Counter[str]) -> Iterator[bytes]:
    """Yield the parts of a zip of events and evidence, some 1 MB each.

    ``counts`` gets how many files are "there" in it and how many are "gone". Raises OptionError for evidence that this
    user cannot read.
    """
    sink = _Sink()
    # A clock that was never set stamps files with 1970, which a zip cannot hold.
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as made:  # type: ignore[call-overload]
        made.writestr("events.jsonl", "".join(f"{row.line}\n" for each in incidents for row in each.events))
        for each in incidents:
            for path, name in _files_of(each, state):
                try:
                    info = zipfile.ZipInfo.from_file(path, name, strict_timestamps=False)
                    source = path.open("rb")
                except FileNotFoundError:  # deleted meanwhile
                    counts["gone"] += 1
                    continue
                except PermissionError as error:
                    raise OptionError(f"{path}: this evidence cannot be looked at ({error.strerror})") from None
                counts["there"] += 1
                stored = path.suffix.lower() in COMPRESSED
                info.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
                with source, made.open(info, "w") as target:
                    while part := source.read(PART_BYTES):
                        target.write(part)
                        yield sink.take()
        gone = counts["gone"]
        left = f"\n{gone} files of evidence were deleted while this was written.\n" if gone else ""
        made.writestr("README.txt", _readme(incidents) + left)
    yield sink.take()


def _files_of(incident: PastEvent, state: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file of its evidence with its name in the zip."""
    camera = "".join(each if each.isalnum() or each in "-_." else "_" for each in incident.first.event.camera)
    folder = f"evidence/{incident.first.at:%Y-%m-%d-%H%M%S}-{camera}-{incident.id[:8]}"
    found = evidence_of(incident, state)
    check_readable(found)
    there = [each for each in found if each.there]
    for number, each in enumerate(there, 1):
        own = folder if len(there) == 1 else f"{folder}/{number}"
        yield from ((path, f"{own}/{path.name}") for path in each.files())


def _readme(found: Sequence[PastEvent]) -> str:
    lines = [f"{moment(each.first)}  {each.id[:8]}  {each.first.event.camera}  {label_of(each)}" for each in found]
    return "\n".join([
        f"Events of a bear alarm, exported on {datetime.now(UTC):%Y-%m-%d %H:%M:%SZ}.",
        "",
        *lines,
        "",
        "events.jsonl  each event as it was recorded, one line of JSON each (`bear-alarm schema event` explains it);",
        "              captured_at is UTC by the device's clock of that moment",
        "evidence/     pictures and clips of each event, as far as they were kept",
        "",
        "It is an aid, not a life-safety device.",
        ""
    ])  # fmt: skip
