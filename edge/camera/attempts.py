"""Which pictures were begun with and never finished: one over which the whole program dies must not kill it for ever.

A decoder or the memory may end the process in the middle of a picture, and a service starts it again with the same one
first. So it is written down before, and one that was begun with three times is given up.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from edge.background import Gate, HangingError

log = logging.getLogger(__name__)

MOST = 3  # times that a picture is begun with
DISK_S = 2.0  # a disk that takes longer is not waited for


class Attempts:
    """How often each picture in hand was begun with, by its mark; with a ``path`` also after the process has died.

    While there are ``suspects``, pictures of an earlier run that were never finished, take one at a time: what is read
    ahead would be suspected as well. Any thread may call; nothing here raises. Not for power cuts: nothing is waited
    for until it is on the disk, and what is torn is forgotten.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.in_hand: set[int] = set()  # begun with in this run
        self._gate = Gate()
        self._counts = self._read() if path else {}
        self._failing = False

    @property
    def suspects(self) -> bool:
        """Whether an earlier run died over one of those that are not finished yet."""
        return bool(self._counts.keys() - self.in_hand) or any(count > 1 for count in self._counts.values())

    def begin(self, mark: int) -> bool:
        """A picture is begun with; False where that was done often enough, and it is forgotten."""
        if self._counts.get(mark, 0) >= MOST:
            self.done(mark)
            return False
        self._counts[mark] = self._counts.get(mark, 0) + 1
        self.in_hand.add(mark)
        self._write()
        return True

    def done(self, mark: int) -> None:
        """It is finished with, whatever came of it."""
        self.in_hand.discard(mark)
        if self._counts.pop(mark, None) is not None:
            self._write()

    def stop(self) -> None:
        """The process ends, and means to: nobody died over what is in hand."""
        for mark in tuple(self.in_hand):
            self.in_hand.discard(mark)
            self._counts.pop(mark, None)
        self._write()

    def _write(self) -> None:
        path = self.path
        if path is None:
            return
        text = json.dumps({f"{mark:016x}": count for mark, count in self._counts.copy().items()})
        try:
            self._gate(lambda: _replace(path, text), DISK_S)
        except (OSError, HangingError) as error:
            if not self._failing:
                log.warning("%s: which pictures are in hand cannot be written down (%s)", path, error or "it hangs")
            self._failing = True
        else:
            self._failing = False

    def _read(self) -> dict[int, int]:
        assert self.path
        try:
            found = json.loads(self._gate(self.path.read_text, DISK_S))
            return {int(mark, 16): int(count) for mark, count in found.items()}
        except (OSError, HangingError, ValueError, AttributeError, TypeError):
            return {}  # there was none, or a power cut tore it


def _replace(path: Path, text: str) -> None:
    """Whole or not at all: the process may be ended in the middle of this too, and is not waited for."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(text)
    beside.replace(path)
