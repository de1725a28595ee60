"""The threads that write evidence, within its quota, for all cameras."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from edge.background import Worker
from edge.detect.zones import Polygon
from edge.errors import OptionError
from edge.evidence.camera import POST_S, PRE_S, CameraEvidence
from edge.evidence.clip import ClipError, ClipMaker
from edge.evidence.papers import Film, Papers
from edge.evidence.pile import Pile
from edge.evidence.store import MB, NoRoomError, Store
from edge.files import make_folder, mistaken
from edge.schema import Event

log = logging.getLogger(__name__)

QUOTA_MB = 2000.0
RESERVE_MB = 200.0
NEGATIVES_PER_DAY = 4.0
RETRY_S = 60.0  # between two looks at the disk, whether an alarm comes or not: somebody waits to hear how it is
HANGS_S = 60.0  # a disk that has taken nothing for so long
RETRY_BYTES = 500_000  # a still and a crop
MOST_FILM_BYTES = 48_000_000  # of frames that wait in memory to be made into clips


class EvidenceWriter:
    """Keeps evidence in a folder: pictures in one thread, clips in another, the newest within ``quota_mb``.

    ``reserve_mb`` stay free on the disk. ``negatives_per_day``: frames without an alarm, at random; ``full``: the whole
    frame of each alarm as well; ``pre_s``, ``post_s``: seconds of a clip before the alarm and after the bear was last
    seen. ``written`` is called in the writing thread with an event and the path of its still, once that is on the disk.
    At most ``depth`` sets of pictures wait (a 720p frame holds 2.7 MB). A disk that takes nothing is a ``problem``, and
    tried again. Raises OptionError for a path at which no folder can ever be.
    """

    def __init__(
        self,
        folder: Path,
        *,
        quota_mb: float = QUOTA_MB,
        reserve_mb: float = RESERVE_MB,
        negatives_per_day: float = NEGATIVES_PER_DAY,
        full: bool = False,
        clips: bool = True,
        pre_s: float = PRE_S,
        post_s: float = POST_S,
        written: Callable[[Event, Path], object] | None = None,
        depth: int = 8,
        maker: ClipMaker | None = None,
        dice: random.Random | None = None,
    ) -> None:
        refused: OSError | None = None
        try:
            make_folder(folder)
        except OSError as error:
            if mistaken(error):
                raise OptionError(f"{folder}: cannot keep evidence there ({error.strerror})") from None
            refused = error
        self.folder = folder
        self.negatives_per_day = negatives_per_day
        self.full = full
        self.clips = clips
        self.pre_s, self.post_s = pre_s, post_s
        self.written = written
        self.failures = 0  # sets of files and clips that were not written
        self.store = Store(
            folder, quota_bytes=round(quota_mb * MB), reserve_bytes=round(reserve_mb * MB), busy=self._busy
        )
        self._maker = maker or ClipMaker()
        self._dice = dice
        self._cameras: list[CameraEvidence] = []
        self._problem: str | None = None
        self._looked_at = time.monotonic()
        self._since: float | None = None  # when the turn that is at work now began, time.monotonic()
        self._said_hung = False
        self._said_dropped = 0
        self._lock = threading.Lock()
        self._in_work: Counter[Path] = Counter()  # folders of what is being written or waits to become a clip
        self._pile = Pile(depth)
        # One turn for each that waits on the pile, and now and then one to look at the disk.
        self._turns: Worker[bool] = Worker(lambda look, _: self._turn(look), "evidence", depth=depth + 8)
        self._films: Worker[Film] = Worker(lambda film, _: self._make(film), "clips", depth=1000)
        self._film_bytes = 0
        if refused:
            self._failed(refused)
        # While nothing happens yet: a card with thousands of events takes seconds to look through.
        self._turns(True)

    def camera(self, masks: Sequence[Polygon] = (), *, context: float = 1.0, clips: bool = True) -> CameraEvidence:
        """What one camera is told through; ``context`` is of the crops its classifier gets."""
        made = CameraEvidence(
            self.folder,
            self,
            masks=masks,
            context=context,
            clips=clips and self.clips,
            full=self.full,
            negatives_per_day=self.negatives_per_day,
            pre_s=self.pre_s,
            post_s=self.post_s,
            dice=self._dice,
        )
        self._cameras.append(made)
        return made

    def write(self, papers: Papers) -> None:
        """Queue files; returns at once."""
        if self._pile.put(papers):
            self._turns(False)

    def film(self, film: Film) -> None:
        """Queue a clip; returns at once. Where too many frames wait, this one is given up."""
        with self._lock:
            if self._film_bytes + film.bytes > MOST_FILM_BYTES:
                self.failures += 1
                log.warning("%s: no clip is made, for too many others wait to be", film.path)
                return
            self._film_bytes += film.bytes
            self._in_work[film.unit] += 1
        self._films(film)

    @property
    def trouble(self) -> str | None:
        """As ``problem``, but only known, not asked: an alarm on its way waits for no disk and no terminal."""
        since = self._since
        if since is not None and time.monotonic() - since > HANGS_S:
            return f"evidence is not kept: {self.folder}: its disk hangs, for more than {HANGS_S:g} s by now"
        return self._problem

    def problem(self) -> str | None:
        """Why nothing can be written now, in a sentence; None while all is well. Whoever asks has it tried again."""
        now, trouble = time.monotonic(), self.trouble
        if trouble != self._problem:  # it hangs
            if not self._said_hung:
                self._said_hung = True
                log.warning("%s", trouble)
        elif now - self._looked_at > RETRY_S:
            self._looked_at = now
            self._turns(True)
        return trouble

    def close(self, within_s: float) -> bool:
        """Write what waits and make the last clips, for at most so many seconds; False when something was left."""
        until = time.monotonic() + within_s
        for camera in self._cameras:
            camera.finish()
        written = self._turns.close(until - time.monotonic())
        filmed = self._films.close(until - time.monotonic())
        self._maker.stop()
        return written and filmed

    def _busy(self) -> list[Path]:
        with self._lock:
            working = list(self._in_work)
        return [*working, *(folder for camera in self._cameras for folder in camera.busy)]

    def _turn(self, look: bool) -> None:
        """Write what waits longest; where nothing does, see how the disk is if that is asked for."""
        papers = self._pile.take()
        dropped = self._pile.dropped
        if dropped > self._said_dropped:
            self.failures += dropped - self._said_dropped
            self._said_dropped = dropped
            log.warning("evidence: the disk is too slow: %d sets of pictures were given up so far", dropped)
        self._since = time.monotonic()
        try:
            if papers:
                self._write(papers)
                self._worked()
            elif look:
                self.store.make_room(0)
                if self._problem:
                    self.store.try_out(RETRY_BYTES)
                    self._worked()
        except (NoRoomError, OptionError, OSError) as error:
            self.failures += papers is not None
            self._failed(error)
        finally:
            self._since = None
            if self._said_hung:
                self._said_hung = False
                log.warning("%s: its disk answers again", self.folder)

    def _write(self, papers: Papers) -> None:
        """Raises NoRoomError, OptionError or OSError."""
        with self._lock:
            self._in_work[papers.unit] += 1
        try:
            for number, (path, make) in enumerate(papers.files):
                self.store.write(papers.unit, path, make())
                if number == 0 and papers.still_of:
                    self._tell(papers.still_of, path)
        finally:
            self._release(papers.unit)

    def _make(self, film: Film) -> None:
        try:
            self.store.make_room(film.bytes)
            try:
                made = self._maker(film.shots, film.path, film.masks)
            except ClipError:
                if self.store.short(film.bytes) <= 0:
                    raise
                self.store.make_room(film.bytes)  # the disk has filled up meanwhile
                made = self._maker(film.shots, film.path, film.masks)
            if made:
                self.store.grown(film.unit, film.path.stat().st_size)
        except (ClipError, NoRoomError, OSError) as error:
            self.failures += 1
            # Whoever knows that nothing can be written need not hear it of each clip.
            log.log(logging.DEBUG if self._problem else logging.WARNING, "%s: no clip is made: %s", film.path, error)
        finally:
            self._release(film.unit)
            with self._lock:
                self._film_bytes -= film.bytes

    def _release(self, unit: Path) -> None:
        with self._lock:
            self._in_work[unit] -= 1
            self._in_work += Counter()  # forgets what has come to nothing

    def _tell(self, event: Event, path: Path) -> None:
        if self.written is None:
            return
        try:
            self.written(event, path)
        except Exception as error:  # whoever wants to know, the rest of the evidence is written
            log.warning("%s is written, but could not be announced: %s", path, error or type(error).__name__)

    def _failed(self, error: Exception) -> None:
        """Said once, however many alarms follow."""
        self._looked_at = time.monotonic()
        words = str(error)
        if isinstance(error, OSError):
            words = f"{error.filename or self.folder}: cannot be written ({error.strerror or error})"
        if self._problem is None:
            log.warning("evidence is not kept for now: %s", words)
        self._problem = f"evidence is not kept: {words}"

    def _worked(self) -> None:
        if self._problem is not None:
            self._problem = None
            log.warning("evidence is kept again, in %s", self.folder)
