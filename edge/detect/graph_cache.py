"""The graph that onnxruntime optimises for this machine, kept for the next start.

Such a graph holds for one model, onnxruntime and processor, which are in its file's name, as its own SHA-256 is. It is
kept only after the golden vectors; one that is damaged, or that others could have written, is made again. Where nothing
can be kept, or the folder is another user's, the alarm goes on without.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import tempfile
from contextlib import suppress
from pathlib import Path

import onnxruntime as ort

from edge.files import cache_folder, make_own_folder, ours_alone

log = logging.getLogger(__name__)

CPUINFO = Path("/proc/cpuinfo")
# What tells processors apart in /proc/cpuinfo (x86: arch/x86/kernel/cpu/proc.c; Arm: arch/arm64/kernel/cpuinfo.c).
OF_PROCESSOR = ("model name", "flags", "Features", "CPU implementer", "CPU part")
MOST = 4  # graphs of all models


class GraphCache:
    """The place of one model's optimised graph: ``find`` it, or have it made at ``begin`` and ``keep`` it.

    ``digest`` is the model's SHA-256.
    """

    def __init__(self, digest: str) -> None:
        self._folder = cache_folder()
        self._model = f"{digest[:16]}-"
        self._name = f"{self._model}{machine()}-"
        self._made: Path | None = None

    def find(self) -> tuple[Path, bool] | None:
        """Return the graph's file, and whether it computes in float; None where there is none.

        One that cannot be trusted is removed.
        """
        for path in self._graphs():
            with suppress(OSError):
                if ours_alone(path):
                    with path.open("rb") as file:
                        digest = hashlib.file_digest(file, "sha256").hexdigest()
                    for in_float in (False, True):
                        if path.name == self._named(digest, in_float=in_float):
                            return path, in_float
                log.debug("%s: damaged, or others may write to it; made again", path)
                path.unlink()
        return None

    def begin(self) -> Path | None:
        """Return a new file for onnxruntime to write the graph to; None where none can be made."""
        if self._folder is None:
            return None
        try:
            make_own_folder(self._folder, 0o700)
            if ours_alone(self._folder):
                for left in self._folder.glob("*.part"):  # by a start that was cut off
                    left.unlink()
                file, name = tempfile.mkstemp(".part", dir=self._folder)
                os.close(file)
                self._made = Path(name)
        except OSError as error:
            log.debug("%s: no graph is kept (%s)", self._folder, error.strerror)
        return self._made

    def keep(self, *, in_float: bool) -> None:
        """Put what was made in place, whole or not at all, and remove others of this model and the oldest."""
        if self._made is None:
            return
        try:
            with self._made.open("rb") as file:
                name = self._named(hashlib.file_digest(file, "sha256").hexdigest(), in_float=in_float)
                os.fsync(file.fileno())
            kept = self._made.replace(self._made.with_name(name))
            graphs = sorted(kept.parent.glob("*.ort"), key=lambda each: each.stat().st_mtime, reverse=True)
            for number, each in enumerate(graphs):
                if each != kept and (number >= MOST or each.name.startswith(self._model)):
                    each.unlink()
        except OSError as error:
            log.debug("%s: no graph is kept (%s)", self._made, error.strerror)
            self.drop()

    def drop(self) -> None:
        """Remove the graph, or what was made for it."""
        with suppress(OSError):
            for path in [self._made] if self._made else self._graphs():
                path.unlink(missing_ok=True)

    def _graphs(self) -> list[Path]:
        with suppress(OSError):
            if self._folder and ours_alone(self._folder):
                return list(self._folder.glob(f"{self._name}*.ort"))
        return []

    def _named(self, digest: str, *, in_float: bool) -> str:
        return f"{self._name}{'float' if in_float else 'as-is'}-{digest}.ort"


def machine() -> str:
    """Return a short digest of what an optimised graph depends on: onnxruntime and the processor."""
    try:
        lines = CPUINFO.read_text(errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    processor = sorted({line for line in lines if line.partition("\t")[0].rstrip(" :") in OF_PROCESSOR})
    known = [ort.__version__, ort.get_build_info(), platform.machine(), *(processor or [platform.processor()])]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]
