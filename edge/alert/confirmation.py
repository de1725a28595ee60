"""Wait for a person's yes before anything makes a noise: what ``supervised`` means.

A bear of a supervised camera opens a ``Question``. Whoever holds its token may answer: on the page, by a button of a
phone message, over MQTT. A token is good for one answer about one bear, for some minutes. Where nobody answers in time
the alarm sounds, unless its owner chose silence.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from edge.errors import OptionError
from edge.schema import Event

Answer = Literal["yes", "no"]
ANSWER_WITHIN_S = 600.0  # an answer that comes later is refused


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
    sounded: bool = False  # nobody answered in time
    held: list[Event] = field(default_factory=list)  # in their order

    @property
    def open(self) -> bool:
        """Return True while nobody has answered."""
        return self.answer is None


class Confirmations:
    """The gate before what makes a noise. A sink; safe to use from any thread, and nothing here waits.

    ``act`` takes the events that may make a noise. ``answer_s``: how long an answer is waited for. ``sound``: sound
    where none came; else stay silent. ``answered`` hears of each answer, in the thread that gave it; ``asked`` of each
    question, in the loop's, and must return at once.
    """

    def __init__(
        self,
        act: Callable[[Event], None],
        *,
        answer_s: float = 30.0,
        sound: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.act = act
        self.answer_s = answer_s
        self.sound = sound
        self.answered: Callable[[Question], None] = lambda question: None
        self.asked: Callable[[Question], None] = lambda question: None
        self._clock = clock
        self._lock = threading.Lock()
        self._questions: dict[str, Question] = {}  # by the event's id

    def __call__(self, event: Event) -> None:
        """Pass an event on, or hold it until there is an answer."""
        if event.kind != "bear" or event.stage != "supervised":
            self.act(event)
            return
        with self._lock:
            question = self._questions.get(event.id)
            new = question is None and event.alarms
            if new:
                now = self._clock()
                sounds_at = now + self.answer_s if self.sound else None
                until = now + max(ANSWER_WITHIN_S, self.answer_s)
                question = self._questions[event.id] = Question(event, now, sounds_at, until)
            if question and question.open and not question.sounded:
                question.held.append(event)
                passed = False
            else:
                passed = question is None or question.answer != "no" or event.type == "end"
        if new and question:
            self.asked(question)
        if passed:
            self.act(event)

    @property
    def open(self) -> list[Question]:
        """Return the questions that nobody has answered yet and that may be answered still, the oldest first."""
        now = self._clock()
        with self._lock:
            return [each for each in self._questions.values() if each.open and now < each.until]

    def of_event(self, id_: str) -> Question | None:
        """Return the question about an event, answered or not; None where there is none, or none any more."""
        with self._lock:
            return self._questions.get(id_)

    def find(self, token: str) -> Question | None:
        """Return the question that a token belongs to."""
        with self._lock:
            return next((each for each in self._questions.values() if hmac.compare_digest(each.token, token)), None)

    def answer(self, token: str, answer: Answer, by: str) -> Question:
        """Take an answer. Raises OptionError for a token that is unknown, used or too old."""
        question = self.find(token)
        if question is None:
            raise OptionError("this answer belongs to no question of this alarm, or to one that is long over")
        with self._lock:
            if not question.open:
                raise OptionError(f"this was answered already: {question.answer}, by {question.by}")
            if self._clock() >= question.until:
                raise OptionError("this answer comes too late; the question is over")
            question.answer, question.by = answer, by
            held, question.held = question.held, []
            if answer == "no":
                held = []
        for event in held:
            self.act(event)
        self.answered(question)
        return question

    def tick(self) -> None:
        """Sound what nobody has answered in time, and forget what is over. Call it often."""
        now, due = self._clock(), list[Event]()
        with self._lock:
            for question in self._questions.values():
                if question.open and question.sounds_at is not None and now >= question.sounds_at:
                    question.sounded, question.sounds_at = True, None
                    due += question.held
                    question.held = []
            over = [id_ for id_, each in self._questions.items() if now >= each.until + ANSWER_WITHIN_S]
            for id_ in over:
                del self._questions[id_]
        for event in due:
            self.act(event)
