"""Pictures that arrive in a folder: uploads by FTP, base stations of trail cameras, folders that are synchronised.

It is looked through again and again, since network shares tell nobody of a change.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge.camera import Closing
from edge.camera.arrivals import BROKEN_S, Arrivals, Arrived, File
from edge.camera.attempts import MOST, Attempts
from edge.camera.report import REPORT_S, Due, Reporter
from edge.camera.seen import Seen
from edge.errors import SourceError
from edge.schema import Frame, Picture, Trouble

FOLLOW_FPS = 2.0  # pictures of one burst: two sure ones half a second apart raise the alarm (edge.decide)
POLL_S = 1.0
GONE_S = 10.0
APART_S = 60.0  # pictures further apart have no background in common
MOST_TRIES = 2  # of a picture over which the loop fails
SHARE = 0.1  # of the time for looking: a folder of 100,000 pictures is looked through less often

NO_PICTURE: Picture = np.empty((0, 0, 3), np.uint8)

log = logging.getLogger(__name__)


class FollowSource(Closing):
    """The pictures that arrive in ``folder`` and below it, each once, in the order they were written; for ever.

    ``Frame.time`` is the monotonic clock when it is handed over, further on by ``apart_s`` at each ``again``;
    ``wall`` the camera's own time (Exif) where that is
    within a month of the file's time, else the file's. ``again`` is set where a picture has nothing to do with the one
    before: ``apart_s`` or more between them (by any of the three clocks), or another sub-folder. Others are handed over
    at no more than ``fps`` a second. None is dropped: it waits until it is taken.

    What lies there at the start is passed over, but for ``from_start``. With ``remember``, a file of its own, it goes
    on where the last run stopped: what arrived meanwhile is looked at, and what was looked at is not (but perhaps the
    pictures of the last ten seconds before a power cut). A picture over which the loop failed is handed over once more
    to the next one, and then counts as looked at; so does one over which the whole process died three times.

    A folder that is gone or does not answer for ``gone_s`` raises SourceError; with ``report`` it is told instead, as
    ``KeptSource`` does, and awaited for ever.
    """

    live = True
    length_s: float | None = None

    def __init__(
        self,
        folder: Path | str,
        *,
        name: str,
        fps: float = FOLLOW_FPS,
        from_start: bool = False,
        poll_s: float = POLL_S,
        broken_s: float = BROKEN_S,
        gone_s: float = GONE_S,
        apart_s: float = APART_S,
        remember: Path | None = None,
        report: Reporter | None = None,
    ) -> None:
        self.folder = Path(folder).expanduser()
        self.name = name
        self.fps = fps
        self.poll_s = poll_s
        self.gone_s = gone_s
        self.apart_s = apart_s
        self.report = report
        self.problems: list[str] = []  # what is skipped is said at once: this may run for months
        self._seen = Seen(self.folder, remember)
        self._attempts = Attempts(remember.with_suffix(".in-hand") if remember else None)
        self._arrivals = Arrivals(self.folder, from_start=from_start, broken_s=broken_s, seen=self._seen)
        self._ready = threading.Condition()
        self._slot: Arrived | None = None
        self._closed = False
        self._looked = False
        self._gone: str | None = None  # why there is nothing to look through
        self._alive = time.monotonic()  # when the looking last got on
        self.alive_at = self._alive  # when whoever takes the pictures last asked for one
        self._due = Due()
        # What was handed over; the clock and the count go on where a loop that failed is begun anew.
        self._index, self._at, self._apart_s = 0, 0.0, 0.0
        self._last: Arrived | None = None  # without its pixels
        self._shape: tuple[int, ...] = ()
        self._in_hand: Arrived | None = None  # not looked at yet
        self._tries = 0  # of the one in hand
        # A share whose server is away blocks whoever asks it anything, so all of that happens in a thread.
        self._taken_from = False  # somebody iterates, and says in the end what is in hand
        self._thread = threading.Thread(target=self._watch, name=f"camera {name}", daemon=True)
        self._thread.start()
        with self._ready:
            # A first look at many files may take long; what counts is that it gets on. Whoever is told waits no longer.
            began = self._alive
            while not (self._looked or self._gone or time.monotonic() - (began if report else self._alive) > gone_s):
                self._ready.wait(REPORT_S)
        if not self._looked and report is None:
            self.close()
            raise SourceError(self._gone or self._hanging())

    def __repr__(self) -> str:
        return f"FollowSource({str(self.folder)!r}, name={self.name!r}, fps={self.fps:g})"

    def __iter__(self) -> Iterator[Frame]:
        """The pictures as they arrive. Raises SourceError when the folder is gone and nobody is to be told."""
        self._taken_from = True
        try:
            yield from self._frames()
        finally:
            self._taken_from = False
            if self._closed:
                self._attempts.stop()
                self._seen.close()
            else:
                self._seen.write(at_once=True)

    def _frames(self) -> Iterator[Frame]:
        failed = self._once_more()
        while not self._closed:
            arrived, failed, once_more = failed or self._next(), None, failed is not None
            if self._closed:
                return
            if arrived is None:
                self._judge()
                continue
            far = self._last is not None and self._strange(self._last, arrived, time.monotonic() - self._at)
            again = far or once_more or bool(self._shape and self._shape != arrived.picture.shape)
            if self._last is not None and not again and self._pause(self._at + 1.0 / self.fps):
                return
            self._in_hand, self._tries = arrived, self._tries + 1
            # Without its pixels: a trail camera's picture may take 60 MB, and the next may come tomorrow.
            self._last, self._shape = replace(arrived, picture=NO_PICTURE, jpeg=None), arrived.picture.shape
            self._at = at = time.monotonic()
            # Pictures of other moments may come in one upload: for whoever follows tracks they lie apart.
            self._apart_s += self.apart_s if again else 0.0
            self._index += 1
            yield Frame(
                arrived.picture,
                at + self._apart_s,
                arrived.wall,
                self.name,
                self._index - 1,
                at,
                again=again,
                file=str(arrived.path.relative_to(self.folder)),
                jpeg=arrived.jpeg,
            )
            self._done(arrived)
            arrived = None

    def _next(self) -> Arrived | None:
        """The next picture; None when none has come for a while, or it has been closed."""
        self.alive_at = time.monotonic()
        with self._ready:
            self._ready.wait_for(lambda: self._slot or self._closed, REPORT_S)
            arrived, self._slot = self._slot, None
            self._ready.notify_all()
        return arrived

    def _once_more(self) -> Arrived | None:
        """The picture over which the loop before this one failed, if it did, and only once."""
        failed = self._in_hand
        if failed is None or self._tries < MOST_TRIES:
            return failed
        log.error("%s: the alarm failed over this picture twice; it counts as looked at", failed.path)
        self._done(failed)
        return None

    def _done(self, arrived: Arrived) -> None:
        self._in_hand, self._tries = None, 0
        self._attempts.done(arrived.mark)
        self._seen.looked_at(arrived.mark)

    def close(self) -> None:
        """Stop looking; an iteration under way ends. A look that hangs in a dead share is left behind."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(1.0)
        self._untouched()
        self._seen.close()

    def _untouched(self) -> None:
        """It is closed, and nobody takes pictures: what was read ahead for the first of them killed nobody."""
        if not self._taken_from and self._attempts.in_hand:
            self._attempts.stop()

    def _strange(self, last: Arrived, arrived: Arrived, passed_s: float) -> bool:
        """Whether a picture has no background in common with the last one."""
        far = max(passed_s, last.apart_s(arrived)) >= self.apart_s
        return far or last.path.parent != arrived.path.parent

    def _pause(self, until: float) -> bool:
        """Wait; True when it has been closed meanwhile."""
        with self._ready:
            return self._ready.wait_for(lambda: self._closed, max(0.0, until - time.monotonic()))

    def _judge(self) -> None:
        """Nothing has arrived: raise or tell what is wrong with the folder, if anything is."""
        now = time.monotonic()
        why = self._gone or (self._hanging() if now - self._alive > self.gone_s else None)
        if why and self.report is None:
            self.close()
            raise SourceError(why)
        trouble = Trouble("gone", why) if why else None
        if self.report and self._due(trouble, now):
            self.report(trouble, now)

    def _hanging(self) -> str:
        return f"{self.folder}: the folder has not answered for {self.gone_s:g} s; check the network share or the disk"

    def _watch(self) -> None:
        """The looking thread."""
        gone_since: float | None = None
        while not self._closed:
            began, took_s = self._beat(), 0.0
            try:
                files = self._arrivals.look(began, self._beat)
            except Exception as error:  # whatever one look meets, the next is begun: pictures go on arriving
                if not isinstance(error, OSError):
                    log.error("%s: looking through the folder failed (%s)", self.folder, error or type(error).__name__)
                    error = OSError(f"{type(error).__name__}")
                gone_since = began if gone_since is None else gone_since
                # What was never there is the user's mistake, and said at once.
                if not self._looked or began - gone_since >= self.gone_s:
                    self._say_gone(error)
            else:
                gone_since, self._gone, took_s = None, None, self._beat() - began
                with self._ready:
                    self._looked = True
                    self._ready.notify_all()
                for file in files:
                    if self._wait_taken():
                        self._hand_over(self._read(file))
                        self._seen.write()
            self._seen.write()
            self._rest(max(self.poll_s, took_s * (1.0 / SHARE - 1.0)))
        self._untouched()  # where the one who closed it did not wait for us

    def _say_gone(self, error: OSError) -> None:
        why = (
            f"is gone ({error.strerror or error}); check the disk or the share"
            if self._looked
            else f"is no folder to follow ({error.strerror or error})"
        )
        with self._ready:
            self._gone = f"{self.folder}: {why}"
            self._ready.notify_all()

    def _read(self, file: File) -> Arrived | None:
        """The picture, if it is whole and the alarm has not died over it before."""
        if not self._attempts.begin(file.mark):
            log.error("%s: the alarm has died over this picture %d times; it counts as looked at", file.path, MOST)
            self._seen.looked_at(file.mark)
            return None
        arrived = self._arrivals.read(file, self._beat())
        if arrived is None:
            self._attempts.done(file.mark)
        return arrived

    def _wait_taken(self) -> bool:
        """Wait until the last picture has been taken, so that only one waits; False when it has been closed."""
        attempts = self._attempts
        with self._ready:
            while (self._slot is not None or (attempts.in_hand and attempts.suspects)) and not self._closed:
                self._ready.wait(REPORT_S)
                self._beat()
        return not self._closed

    def _hand_over(self, arrived: Arrived | None) -> None:
        with self._ready:
            self._slot = arrived
            self._ready.notify_all()

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._closed and (left := until - self._beat()) > 0.0:
            with self._ready:
                self._ready.wait_for(lambda: self._closed, min(left, REPORT_S))

    def _beat(self) -> float:
        self._alive = time.monotonic()
        return self._alive
