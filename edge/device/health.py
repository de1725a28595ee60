"""Heat, low voltage, a full or failing disk: fewer frames, and a sentence for ``edge.status``.

A Raspberry Pi's firmware slows the processor from 80 °C on, hard from 85 °C on, and at low voltage; what it then cannot
do in time it would do late. Half as many frames are half the work, and a bear takes seconds, not frames. A PC's
processor works at 80 °C and more all day and slows itself down at what its sensor calls critical, mostly 100 °C: there
it is hot no sooner than 5 °C below that.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from edge.background import start_thread
from edge.device.sensors import Board, Reading
from edge.schema import Picture, Region, Score
from edge.settings import HealthSettings
from edge.status import Ask, Status

if TYPE_CHECKING:
    from edge.detect.classifier import Classifier
    from edge.detect.frame_scan import Scorer


log = logging.getLogger(__name__)

LOOK_S = 5.0  # how often the machine is read


class SelfMonitor:
    """Reads the machine every 5 s, has the model answer every 20 s, and answers requests for its status.

    Only for cameras: what is played is over soon. ``status`` is the whole alarm's; ``root``: where ``sys`` and
    ``proc`` are. ``before``: of the alarm before a reload; a processor that was hot stays throttled. Raises OptionError
    for an address or URL that can never work.
    """

    def __init__(
        self,
        settings: HealthSettings,
        state: Path | None,
        classifier: Callable[[], Classifier],
        status: Callable[[], Status],
        *,
        root: Path = Path("/"),
        before: SelfMonitor | None = None,
    ) -> None:
        self.reading = Reading()
        self._board = Board(root, state)
        self._effort: ThermalThrottle = before._effort if before else ThermalThrottle()
        self._effort.hot_c = settings.hot_c
        self._machine = MachineHealth(lambda: self.reading, settings, state, self.share, lambda: status().crop_ms)
        self._looked: float | None = None
        self._self_test = ModelSelfTest(classifier)
        self._heartbeat: Heartbeat | None = None
        if settings.heartbeat_url:
            from edge.device.heartbeat import Heartbeat  # imports an HTTP client, which most runs do without

            self._heartbeat = Heartbeat(settings.heartbeat_url, settings.heartbeat_s, status)

    def start(self) -> None:
        """Begin to test the model."""
        self._self_test.start()

    def share(self) -> float:
        """Return the share of the set frame rates that is kept up in heat and at low voltage."""
        return self._effort.share

    def tick(self, now: float) -> None:
        """Call it often; ``now``: time.monotonic()."""
        if self._looked is None or now - self._looked >= LOOK_S:
            self._looked = now
            self.reading = self._board.read(now)
            before = self._effort.share
            if self._effort(self.reading, now) != before:
                log.warning("%s", self._effort.why or "all frames are looked at again")

    def add_to(self, status: Status, now: float) -> Status:
        """Return the status with the readings of the machine and the model."""
        return replace(
            status,
            inference_age_s=self._self_test.age_s(now),
            fps_share=self._effort.share,
            temperature_c=self.reading.temperature_c,
            undervolted=self.reading.undervolted,
            disk_free_mb=self.reading.disk_free_mb,
        )

    def parts(self) -> dict[str, Ask]:
        """Return whom health asks, by the event's label."""
        found = self._machine.parts() | {"model": self._self_test.problem}
        if self._heartbeat:
            found[self._heartbeat.PART] = self._heartbeat.problem
        return found

    def close(self) -> None:
        """Stop all of it."""
        self._self_test.close()
        if self._heartbeat:
            self._heartbeat.close()


# Heat and low voltage.


Read = Callable[[], Reading]
Cause = Literal["heat", "voltage", "slowed"]

# Shares of the frame rate.
WHOLE, HALF, QUARTER = 1.0, 0.5, 0.25
VERY_HOT_C = 5.0  # so much hotter than hot
COOLER_C = 5.0  # so much below a limit it must be again
CALM_S = 60.0  # and for so long, before one step more is looked at
CALM_MAX_S = 3600.0  # doubled up to this for each time it was too much again
TOO_MUCH_WITHIN_S = 3600.0  # of the step
SURE_S = 4.0  # within so long a sure bear alarms at the slowest rate
RATES = (0.25, 0.5, 1.0, 1.5, 2.0)  # frames a second, tried from the slowest

DIPS = 2  # readings with a low voltage: one alone is a lamp that was switched on
DIPS_WITHIN_S = 600.0
DIP_LASTS_S = 120.0  # a voltage that dips now and then is one problem, and its dips are shorter than a reading's age
MIN_MEMORY_SHARE, MIN_MEMORY_MB = 0.08, 200.0  # less than the smaller is left: the next program may end this one
BACK_FACTOR = 1.1  # so much better than the limit it must be again: a number that sways about it is one problem

SHADE = "give it shade or a heat sink"
SUPPLY = "use a stronger power supply and a short, thick cable"
WAS_HOT_WORDS = "the processor was too hot a moment ago"
SLOWED_WORDS = "the processor is slowed down by its own system"


class ThermalThrottle:
    """Turns readings into the share of the frame rate to keep up: 1, a half or a quarter. Call it every few seconds.

    Hot (from ``hot_c``, °C) or undervolted: a half; very hot (5 °C more) or throttled: a quarter, both at once. Up it
    goes one step at a time, each after a minute in which it was 5 °C below the limit: twice as long, up to an hour, for
    each time that such a step was too much, or a board in the sun would go up and down all day.
    """

    def __init__(self, hot_c: float = HealthSettings.hot_c) -> None:
        self.hot_c = hot_c
        self.share = WHOLE
        self._calm_since: float | None = None
        self._calm_s = CALM_S
        self._rose_at: float | None = None
        self._reading = Reading()
        self._cause: Cause | None = None

    def __call__(self, reading: Reading, now: float) -> float:
        """Return the share at ``now``, in seconds of a clock that only goes forward."""
        self._reading = reading
        wanted = self._allowed(reading)
        if wanted < self.share:
            self.share, self._calm_since = wanted, None
            again = self._rose_at is not None and now - self._rose_at < TOO_MUCH_WITHIN_S
            self._calm_s = min(2.0 * self._calm_s, CALM_MAX_S) if again else CALM_S
            self._rose_at = None
        elif self._allowed(reading, COOLER_C) <= self.share:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif now - self._calm_since >= self._calm_s:
            self.share, self._calm_since, self._rose_at = min(WHOLE, 2.0 * self.share), None, now
            if self._allowed(reading, COOLER_C) > self.share:
                self._calm_since = now
        if wanted <= self.share:  # what holds it there now, not what once did
            self._cause = self._because(reading)
        return self.share

    @property
    def why(self) -> str | None:
        """Return why not every frame is looked at; None: all are."""
        if self.share >= WHOLE or not self._cause:
            return None
        degrees, now = self._reading.temperature_c, self._because(self._reading)
        words = {
            "heat": heat_words(degrees or 0.0) if now else WAS_HOT_WORDS,
            "voltage": f"the supply voltage {'is too low' if now else 'was too low a moment ago'}",
            "slowed": SLOWED_WORDS if now else "the processor was slowed down a moment ago",
        }
        cause = now or self._cause
        advice = SUPPLY if cause == "voltage" else SHADE
        return f"{words[cause]}{slower(self.share)}; {advice}"

    def _allowed(self, reading: Reading, margin_c: float = 0.0) -> float:
        """Return the share that a reading allows; ``margin_c``: so much cooler than the limits."""
        degrees = -273.0 if reading.temperature_c is None else reading.temperature_c + margin_c
        hot_c = hot_from(self.hot_c, reading)
        if reading.throttled or degrees >= hot_c + VERY_HOT_C:
            return QUARTER
        return HALF if reading.undervolted or degrees >= hot_c else WHOLE

    def _because(self, reading: Reading) -> Cause | None:
        if reading.temperature_c is not None and reading.temperature_c >= hot_from(self.hot_c, reading):
            return "heat"
        if reading.undervolted:
            return "voltage"
        return "slowed" if reading.throttled else None


def heat_words(temperature_c: float) -> str:
    """Return the temperature in words."""
    return f"the processor has {temperature_c:.0f} °C"


def hot_from(hot_c: float, reading: Reading) -> float:
    """Return from which temperature on this processor is hot, °C; ``hot_c``: as it is set."""
    return hot_c if reading.critical_c is None else max(hot_c, reading.critical_c - VERY_HOT_C)


def slower(share: float) -> str:
    """Return the effect on the frames, as the middle of a sentence; empty where there is none."""
    if share >= WHOLE:
        return ""
    return f", so {'half' if share >= HALF else 'a quarter'} of the frames are looked at"


def slowest_fps(frames_needed: Callable[[float], int | None]) -> float:
    """Return the slowest frames a second at which a sure bear still alarms within ``SURE_S``.

    ``frames_needed``: ``edge.decide.evidence.Rule.frames_needed`` of the rule in use.
    """
    for fps in RATES:
        frames = frames_needed(1.0 / fps)
        if frames is not None and (frames - 1) / fps <= SURE_S:
            return fps
    return 2.5  # frames 0.4 s apart count in full: no rule is made with which a sure bear would take longer


class MachineHealth:
    """Finds what is wrong with the machine, in one sentence each; ``edge.status.Health`` asks for them.

    ``read``: the machine now (``Board.read``); ``share`` of the frame rate that is kept up; ``crop_ms``: what scoring
    one crop takes, lately. ``state``: the folder whose disk matters.
    """

    def __init__(
        self,
        read: Read,
        settings: HealthSettings,
        state: Path | None,
        share: Callable[[], float],
        crop_ms: Callable[[], float | None],
    ) -> None:
        self.read = read
        self.settings = settings
        self.share = share
        self.crop_ms = crop_ms
        self._where = f"{state}: " if state else ""
        self._wrong: set[str] = set()  # labels of what was wrong at the last look
        self._dips: deque[float] = deque(maxlen=200)  # when the voltage was low, by the readings
        self._first_errors: int | None = None  # of the file system, when the alarm started

    def parts(self) -> dict[str, Ask]:
        """List what is to be asked, by the event's label: a sentence, or None while all is well."""
        return {
            "hot": self.hot,
            "undervolted": self.undervolted,
            "slow": self.slow,
            "memory": self.memory,
            "disk": self.disk,
            "storage": self.storage,
        }

    def hot(self) -> str | None:
        """Return one sentence while the processor is hot, or slowed down for another reason than its voltage.

        Until it is 5 °C below the limit, and every frame is looked at again.
        """
        reading, follows, was = self.read(), slower(self.share()), "hot" in self._wrong
        degrees = reading.temperature_c
        limit_c = hot_from(self.settings.hot_c, reading) - (COOLER_C if was else 0.0)
        hot = degrees is not None and degrees >= limit_c
        lasts = self._note("hot", hot or (was and bool(follows)))
        if hot:
            words = heat_words(degrees or 0.0)
        elif reading.throttled and not reading.undervolted:
            words = SLOWED_WORDS
        elif lasts:
            words = WAS_HOT_WORDS
        else:
            return None
        return f"{words}{follows}; {SHADE}"

    def undervolted(self) -> str | None:
        """Return one sentence while the supply voltage is low or dips again and again, and for two minutes after."""
        reading = self.read()
        if reading.undervolted and (not self._dips or reading.at > self._dips[-1]):
            self._dips.append(reading.at)
        while self._dips and reading.at - self._dips[0] > DIPS_WITHIN_S:
            self._dips.popleft()
        if len(self._dips) < DIPS or reading.at - self._dips[-1] > DIP_LASTS_S:
            return None
        how = "is too low" if reading.undervolted else "falls too low again and again"
        return f"the supply voltage {how}{slower(self.share())}; {SUPPLY}, or the machine may stop without a word"

    def slow(self) -> str | None:
        """Return one sentence while scoring takes so long that an alarm comes late."""
        took, slow_ms = self.crop_ms(), self.settings.slow_ms
        if not self._note("slow", took is not None and took > slow_ms / self._back("slow")):
            return None
        return (
            f"looking at one crop takes {took:.0f} ms, more than {slow_ms:.0f}, so an alarm comes late; "
            "see what else runs here, or watch with fewer cameras"
        )

    def memory(self) -> str | None:
        """Return one sentence while there is hardly any memory left."""
        reading = self.read()
        free, whole = reading.memory_free_mb, reading.memory_mb or 0.0
        least = min(MIN_MEMORY_SHARE * whole, MIN_MEMORY_MB) * self._back("memory")
        if not self._note("memory", free is not None and free < least):
            return None
        return (
            f"{free:.0f} of {whole:.0f} MB of memory are left, and the system may end this program; "
            "see what else runs here, or watch with fewer cameras"
        )

    def disk(self) -> str | None:
        """Return one sentence while the disk of the events is nearly full, or takes nothing."""
        reading, low_mb = self.read(), self.settings.low_disk_mb
        free = reading.disk_free_mb
        low = self._note("disk", free is not None and free < low_mb * self._back("disk"))
        if reading.read_only:
            return f"{self._where}the disk is read-only, so nothing is kept; a card that fails does that: replace it"
        if not low:
            return None
        return (
            f"{self._where}{free:.0f} MB are free, fewer than {low_mb:.0f}; "
            "delete what is not needed, or give evidence a smaller quota"
        )

    def storage(self) -> str | None:
        """Return one sentence while the disk of the events is failing: new errors, or it reports so itself."""
        reading = self.read()
        errors = reading.fs_errors
        if errors is not None:
            self._first_errors = errors if self._first_errors is None else min(self._first_errors, errors)
            if errors > self._first_errors:
                return (
                    f"{self._where}the file system has found {errors - self._first_errors} new errors; "
                    "the card or disk may be failing: copy what matters and replace it"
                )
        if reading.worn:
            return f"{self._where}the memory chip reports that it is nearly worn out; copy what matters and replace it"
        return None

    def _back(self, label: str) -> float:
        return BACK_FACTOR if label in self._wrong else 1.0

    def _note(self, label: str, wrong: bool) -> bool:
        (self._wrong.add if wrong else self._wrong.discard)(label)
        return wrong


# The model's self-test.


EVERY_S = 20.0  # one crop for ten looks at the whole frame
SIDE_PX = 96
# The same crop in the same session gives the same answer to the last bit; an upset bit in a weight that counts shows.
TOLERANCE = 0.01  # of a probability
TOLERANCE_OOD = 0.05  # of its share, for it has a scale of its own
END_S = 1.0

WHOLE_PICTURE = Region((0.0, 0.0, 1.0, 1.0), "scan")


class ModelSelfTest:
    """Scores one small picture in a thread of its own, every 20 s, and notes when an answer came.

    ``classifier_source`` gives the classifier of now, which may change (a reload). The first answer of each is what
    later ones are held against: a board whose memory or voltage fails gives others.
    """

    def __init__(self, classifier_source: Callable[[], Scorer]) -> None:
        self._source = classifier_source
        self._picture = drawn_bear()
        self._scorer: Scorer | None = None
        self._first: Score | None = None
        self._finished_at: float | None = None
        self._problem: str | None = None
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, with an inference at once."""
        self._thread = start_thread(self._run, "model self-test")

    def close(self) -> None:
        """Stop; an inference that hangs is left behind."""
        self._over.set()
        if self._thread:
            self._thread.join(END_S)

    def age_s(self, now: float) -> float | None:
        """Return the seconds since an inference last finished, at ``now`` of the clock; None: none has yet."""
        finished_at = self._finished_at
        return None if finished_at is None else max(0.0, now - finished_at)

    def problem(self) -> str | None:
        """Return one sentence while the model fails or answers wrongly; None while all is well."""
        return self._problem

    def beat(self) -> None:
        """Do one inference now, in this thread; whatever goes wrong is kept as the problem."""
        try:
            scorer = self._source()
            (score,) = scorer.score(self._picture, [WHOLE_PICTURE])
            self._finished_at = time.monotonic()
        except Exception as error:  # onnxruntime raises classes of its own; it is not counted as finished
            self._note(f"the model fails ({type(error).__name__}: {str(error)[:120]}); start the alarm again")
            return
        if scorer is not self._scorer:
            self._scorer, self._first = scorer, None
        wrong = _wrong(score, self._first)
        if wrong is None and self._first is None:
            self._first = score
        self._note(wrong)

    def _run(self) -> None:
        while not self._over.is_set():
            self.beat()
            self._over.wait(EVERY_S)

    def _note(self, problem: str | None) -> None:
        if problem and not self._problem:
            log.error("%s", problem)
        elif self._problem and not problem:
            log.warning("the model answers as it should again")
        self._problem = problem


def _wrong(score: Score, first: Score | None) -> str | None:
    """Return what is wrong with an answer to the same picture as the first; None: nothing."""
    todo = "this machine computes wrongly: check its power supply and its heat, and start it again"
    if not all(map(math.isfinite, (*score.probabilities, score.bear, score.ood))):
        return f"the model's answer is no number; {todo}"
    if first is None:
        return None
    off = max(abs(now - then) for now, then in zip(score.probabilities, first.probabilities, strict=True))
    if off > TOLERANCE or abs(score.ood - first.ood) > TOLERANCE_OOD * max(1.0, abs(first.ood)):
        return (
            f"the model's answer to the same picture is another than at the start (off by {off:.3f} and "
            f"{abs(score.ood - first.ood):.2f}); {todo}"
        )
    return None


def drawn_bear() -> Picture:
    """Draw a picture (96, 96, 3) of a bear that is hardly one: an answer near 0 or 1 would hide what has changed."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    dice = random.Random(1)  # numpy's own takes 3 MB, for this alone
    grain = np.array([dice.gauss(0.0, 24.0) for _ in range(SIDE_PX**2)]).reshape(SIDE_PX, SIDE_PX, 1)
    picture: Picture = np.clip(np.array([60.0, 110.0, 70.0]) + grain, 0, 255).astype(np.uint8)
    body = ((x - 48) / 34) ** 2 + ((y - 54) / 20) ** 2 <= 1.0
    for left, top, radius in ((76, 44, 12), (70, 34, 4), (82, 34, 4)):  # head and ears
        body |= (x - left) ** 2 + (y - top) ** 2 <= radius**2
    for left in (24, 38, 58, 70):
        body |= (x >= left) & (x <= left + 8) & (y >= 66) & (y <= 88)
    picture[body] = (15, 15, 18)
    return picture
