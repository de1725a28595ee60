"""Wait for a person's yes before anything makes a noise: what ``supervised`` means.

A bear of a supervised camera opens a ``Question``. Its token lets anyone who has it answer: on the page, by a button of
a phone message, over MQTT. A token is good for one answer about one bear, for some minutes. Where nobody answers in
time the alarm sounds, unless its owner chose silence.

Of what waits, the newest alarm and the bear's end are held. A camera that a person moves to autonomous sounds at once;
one in shadow asks nothing any more. When the alarm ends, what waits makes no noise: people have had their message, and
a bear that is still there after the start is a new question.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from edge.background import start_thread
from edge.errors import OptionError
from edge.schema import Event, Stage

log = logging.getLogger(__name__)

Answer = Literal["yes", "no"]
ANSWER_WITHIN_S = 600.0  # an answer that comes later is refused
SHOWN_S = 60.0  # the outcome is shown for so long at least
TICK_S = 0.2
GONE_S = 20.0  # a bear that left before the answer is driven off for so long


@dataclass(eq=False)
class Question:
    """One bear that waits for an answer, or has it. Times are of the monotonic clock, in seconds."""

    event: Event  # the alarm
    asked_at: float
    sounds_at: float | None  # without an answer; None: never
    until: float
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    answer: Answer | None = None
    by: str = ""
    sounded: bool = False  # nobody answered in time, or the camera became autonomous
    expired: bool = False  # nobody answered, and it stayed silent
    settled_at: float | None = None  # when it got an answer, sounded or expired
    gone: Event | None = None  # the bear's end
    held: Event | None = None  # the newest alarm
    end: Event | None = None  # of a bear that left meanwhile: passed on at once, and again after what is held
    ends_at: float = 0.0  # when again

    @property
    def open(self) -> bool:
        """Return True while nobody has answered."""
        return self.answer is None

    @property
    def waits(self) -> bool:
        """Return True while it makes no noise yet, and may."""
        return self.open and not self.sounded and not self.expired

    def left_s(self, now: float) -> float | None:
        """Return the seconds until it sounds without an answer; None where it never will, or has."""
        return None if self.sounds_at is None or not self.waits else max(self.sounds_at - now, 0.0)

    @property
    def said(self) -> str:
        """Return who answered what, in one clause; empty before that."""
        return f"{self.by} said {'yes, a bear' if self.answer == 'yes' else 'no bear'}" if self.answer else ""

    @property
    def seen(self) -> str:
        """Return when the bear was seen, and since when it is gone, in local time."""
        both = (datetime.fromisoformat(each.captured_at).astimezone() for each in (self.event, self.gone) if each)
        return f"seen {', gone since '.join(f'{each:%H:%M:%S}' for each in both)}"

    def words(self, now: float) -> str:
        """Return how it stands, in one clause."""
        if self.answer:
            then = "it sounds" if self.answer == "yes" else "it stays silent"
            return f"{self.said}: {'it had sounded already' if self.sounded else then}"
        if self.expired and self.settled_at is not None and self.settled_at < self.until:
            return "the camera is in shadow now, so it stays silent"
        if self.expired:
            return f"nobody answered within {ANSWER_WITHIN_S / 60:.0f} minutes; it stayed silent"
        if self.sounded and self.sounds_at is None:
            return "the camera is autonomous now, so the alarm sounds"
        if self.sounded and self.sounds_at is not None:
            return f"nobody answered within {self.sounds_at - self.asked_at:.0f} s, so the alarm sounds"
        left_s = self.left_s(now)
        if left_s is not None:
            return f"without an answer it sounds in {left_s:.0f} s"
        until = datetime.now().astimezone() + timedelta(seconds=self.until - now)
        return f"it stays silent until somebody says yes (until {until:%H:%M})"


class Confirmations:
    """The gate before what makes a noise. A sink; safe to use from any thread, and nothing here waits.

    While there are questions, a thread of its own calls ``tick``, so that it sounds in time whatever else hangs; with a
    ``clock`` of yours, call it yourself. ``act`` takes the events that may make a noise. ``asked`` hears of each
    question, in the loop's thread, and ``changed`` of each answer, in the thread that gave it, and of what sounds or
    expires without one. These three must return at once. ``stage`` gives a camera's stage now. ``sound``: sound where
    no answer came in ``answer_s``; else stay silent.
    """

    def __init__(self, act: Callable[[Event], None], *, clock: Callable[[], float] | None = None) -> None:
        self.act = act
        self.answer_s = 30.0
        self.sound = True
        self.stage: Callable[[str], Stage | None] = lambda camera: None
        self.changed: Callable[[Question], None] = lambda question: None
        self.asked: Callable[[Question], None] = lambda question: None
        self._paused = False
        self._clock = clock or time.monotonic
        self._ticks = clock is None
        self._ticking = False  # in a thread
        self._lock = threading.Lock()  # also while ``act`` is called, so that events keep their order
        self._questions: dict[str, Question] = {}  # by the event's id
        self._unsaid: list[Question] = []  # what changed while paused

    def __call__(self, event: Event) -> None:
        """Pass an event on, or hold it until there is an answer."""
        new: Question | None = None
        expired: Question | None = None
        with self._lock:
            now, question = self._clock(), self._questions.get(event.id)
            if question and question.waits and question.sounds_at is None and now >= question.until:
                expired = question  # nobody can answer it any more
                self._expire(expired, now)
            if question and question.expired and event.type != "end":
                question = None  # a bear that becomes more serious is asked about again
            if question is None and event.kind == "bear" and event.stage == "supervised" and event.alarms:
                sounds_at = now + self.answer_s if self.sound else None
                question = new = Question(event, now, sounds_at, max(now + ANSWER_WITHIN_S, sounds_at or 0.0))
                self._questions[event.id] = question
                self._tick_in_thread()
            holding = question is not None and (question.waits or question.held is not None)
            if question and event.type == "end":
                question.gone = event
                question.end = event if holding else question.end
            elif question and holding and event.alarms:
                question.held = event
            if event.type == "end" or question is None or not (holding or question.answer == "no"):
                self.act(event)
        if expired:
            self._say([expired])
        if new:
            self.asked(new)

    @property
    def open(self) -> list[Question]:
        """Return the questions that nobody has answered yet and that may be answered still, the oldest first."""
        now = self._clock()
        with self._lock:
            return [each for each in self._questions.values() if each.open and now < each.until]

    @property
    def shown(self) -> list[Question]:
        """Return what people should see: each until it is settled, its bear is gone and a minute is over."""
        now = self._clock()
        with self._lock:
            return [
                each
                for each in self._questions.values()
                if each.settled_at is None or not each.gone or now < each.settled_at + SHOWN_S
            ]

    @property
    def held(self) -> int:
        """Return how many alarms wait."""
        with self._lock:
            return sum(each.held is not None for each in self._questions.values())

    def of_event(self, id_: str) -> Question | None:
        """Return the question about an event, answered or not; None where there is none, or none any more."""
        with self._lock:
            return self._questions.get(id_)

    def find(self, token: str) -> Question | None:
        """Return the question that a token belongs to."""
        given = token.encode(errors="replace")
        with self._lock:
            found = (each for each in self._questions.values() if hmac.compare_digest(each.token.encode(), given))
            return next(found, None)

    def answer(self, token: str, answer: Answer, by: str) -> Question:
        """Take an answer. Raises OptionError for a token that is unknown, used or too old."""
        question = self.find(token)
        if question is None:
            raise OptionError("this answer belongs to no question of this alarm, or to one that is long over")
        with self._lock:
            now = self._clock()
            if question.answer:
                ends = "; the noise ends by itself, or stop the alarm to end it now" if question.answer == "yes" else ""
                raise OptionError(f"this was answered already: {question.answer}{ends}")
            if now >= question.until or self._questions.get(question.event.id) is not question:
                raise OptionError("this answer comes too late; the question is over")
            question.answer, question.by, question.settled_at = answer, by, now
            if answer == "no":
                question.held = question.end = None
                if question.sounded:  # what goes on until the bear is gone ends now
                    self.act(replace(question.event, type="end", escalated=None))
            self._act_on(question, now)
        self._say([question])
        return question

    def pause(self) -> None:
        """Act on nothing that waits, until ``resume``."""
        self._paused = True

    def resume(self) -> None:
        """Act on what waits, and have ``changed`` hear of what was answered meanwhile."""
        with self._lock:
            self._paused = False
            unsaid, self._unsaid = self._unsaid, []
            if self._questions:
                self._tick_in_thread()
        self._say(unsaid)

    def _say(self, questions: Sequence[Question]) -> None:
        with self._lock:
            if self._paused:  # nobody hears of it now
                self._unsaid += questions
                return
        for question in questions:
            self.changed(question)

    def _tick_in_thread(self) -> None:
        if self._ticks and not self._ticking:
            try:
                self._ticking = True
                start_thread(self._tick_while_asked, "questions")
            except RuntimeError as error:
                self._ticking = False
                log.error("what waits for an answer cannot sound by itself: %s", error)

    def _tick_while_asked(self) -> None:
        while True:
            time.sleep(TICK_S)
            try:
                self.tick()
            except Exception as error:  # it is tried again
                log.error("questions: internal error (%s: %s)", type(error).__name__, error)
            with self._lock:
                self._ticking = bool(self._questions) and not self._paused
                if not self._ticking:
                    return

    def tick(self) -> None:
        """Sound what nobody has answered in time, and forget what is over. Call it often."""
        settled: list[Question] = []
        try:
            with self._lock:
                if not self._paused:
                    now = self._clock()
                    for id_, question in list(self._questions.items()):
                        settled += [question] if self._settles(question, now) else []
                        if self._over(question, now):
                            del self._questions[id_]
        finally:
            self._say(settled)

    def _settles(self, question: Question, now: float) -> bool:
        """Return True if a question that waits ends now: it sounds, or nobody can answer it any more."""
        waited, stage = question.waits, self.stage(question.event.camera)
        overdue = question.sounds_at is not None and now >= question.sounds_at
        if waited and stage == "shadow":
            self._expire(question, now)
        elif waited and (overdue or stage == "autonomous"):
            question.sounded, question.settled_at = True, now
            question.sounds_at = question.sounds_at if overdue else None
        elif waited and now >= question.until:
            self._expire(question, now)
        if stage == "shadow":
            question.held = None
        if not question.waits:
            self._act_on(question, now)
        return waited and not question.waits

    def _over(self, question: Question, now: float) -> bool:
        over = self.stage(question.event.camera) == "shadow" or now >= question.until + ANSWER_WITHIN_S
        return over and not question.end

    @staticmethod
    def _expire(question: Question, now: float) -> None:
        question.expired, question.settled_at = True, now
        question.held = question.end = None

    def _act_on(self, question: Question, now: float) -> None:
        """Act on what was held; a bear that left meanwhile ends some seconds later."""
        if self._paused:
            return
        if question.held:
            self.act(question.held)
            question.held, question.ends_at = None, now + GONE_S
        if question.end and now >= question.ends_at:
            self.act(question.end)
            question.end = None
