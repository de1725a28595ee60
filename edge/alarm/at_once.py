"""Those who are told here and at once, each with a worker: made from plans, and exchanged while the alarm runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge.alarm.local import Local, Plan, local_plans
from edge.alarm.missing import Missing
from edge.background import Worker, in_background

if TYPE_CHECKING:
    from edge.schema import Event
    from edge.settings import AlertSettings
    from edge.status import Ask

log = logging.getLogger(__name__)

SILENT_S = 0.5
UNDER_WAY_S = 0.05  # an event that is just being handed round is round by then
LAST_S = 5.0  # what those who are told no more may take for what they have in hand

Answered = Callable[[str, "Event", str | None, float], None]  # who, the event, what went wrong, milliseconds


@dataclass(frozen=True, eq=False)
class _Told:
    """One of them."""

    plan: Plan
    local: Local
    worker: Worker[Event]


class AtOnce:
    """Sounds, relays, the deterrent, the bell and commands; one that cannot work is ``missing``, and tried again."""

    def __init__(self, answered: Answered) -> None:
        self.missing = Missing()
        self._answered = answered
        self._plans: dict[Hashable, Plan] = {}  # all sinks of the settings, in the order of notification
        self._told: dict[Hashable, _Told] = {}
        self._leaving: tuple[_Told, ...] = ()  # told no more, and perhaps not silent yet

    @property
    def workers(self) -> list[Worker[Event]]:
        """In the order in which they are told."""
        return [each.worker for each in self._told.values()]

    @property
    def parts(self) -> dict[str, Ask]:
        """Whom health asks, by name."""
        parts = self.missing.parts
        for each in self._told.values():
            parts[each.worker.name] = partial(_problem, each.worker.problem, each.local.problem)
        return parts

    @property
    def sure(self) -> set[str]:
        """Parts whose problem does not pass within a moment."""
        return {*self.missing.why, *(each.worker.name for each in self._told.values() if each.local.problem())}

    def change(self, settings: AlertSettings, hold: Callable[[], object]) -> Callable[[], object]:
        """Those that these settings name, and no others; who stays the same is not disturbed.

        ``hold`` is called before anything is taken from somebody who is told: from then on the caller must keep events
        for ``workers`` as they are afterwards. What is returned lets go of those who are told no more; call it once
        nobody hands them events. Raises OptionError for what can never work; all is then as it was.
        """
        plans = {plan.key: plan for plan in local_plans(settings)}
        missing = dict(self.missing.why)
        gone = [each for key, each in self._told.items() if key not in plans]
        new = [plan for key, plan in plans.items() if key not in self._told]
        taken = frozenset[int]().union(*(plan.pins for plan in new))
        late = [plan for plan in new if plan.pins]
        try:
            made = self._made([plan for plan in new if not plan.pins])
        except BaseException:
            self.missing.why = missing
            raise
        freed = [each for each in gone if each.plan.pins & taken]
        if freed:
            hold()
            time.sleep(UNDER_WAY_S)
            _close(freed, LAST_S)
        try:
            made |= self._made(late)
        except BaseException:
            _close(list(made.values()), 0.0)
            self.missing.why = missing
            back = self._made([each.plan for each in freed], again=True)
            self._told = {key: each for key, each in self._told.items() if each not in freed}
            self._take(back)
            raise
        self._plans = plans
        self.missing.keep({plan.name for plan in plans.values()})
        self._take(made)
        rest = [each for each in gone if each not in freed]
        self._leaving += tuple(rest)
        return partial(self._let_go, rest)

    def try_again(self, now: float) -> bool:
        """Once a minute, what does not work is tried again; whether ``workers`` are others by that."""
        if not self.missing.due(now):
            return False
        for each in self._told.values():
            if each.local.problem():
                _beside(each.plan.name, each.local.try_again)
        made = self._made([plan for key, plan in self._plans.items() if key not in self._told], again=True)
        self._take(made)
        return bool(made)

    def silence(self) -> None:
        """Noises and relays off, for good, within half a second."""
        threads = []
        everyone = (*self._told.values(), *self._leaving)
        for call in [each.local.silence for each in everyone if each.local.silence]:
            thread = threading.Thread(target=call, name="silence", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread is to be had: one after the other then
                call()
            else:
                threads.append(thread)
        until = time.monotonic() + SILENT_S
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _let_go(self, told: Sequence[_Told]) -> None:
        def close() -> None:
            time.sleep(UNDER_WAY_S)
            _close(told, LAST_S)
            self._leaving = tuple(each for each in self._leaving if each not in told)

        if told:
            threading.Thread(target=close, name="told no more", daemon=True).start()

    def _take(self, made: dict[Hashable, _Told]) -> None:
        """Tell these too."""
        self._told = {key: told for key in self._plans if (told := made.get(key) or self._told.get(key))}

    def _made(self, plans: Sequence[Plan], *, again: bool = False) -> dict[Hashable, _Told]:
        """Each that can be made, ready and with its worker; none is made where one can never work."""
        made: dict[Hashable, _Told] = {}
        try:
            for plan in plans:
                local = self.missing.make(plan.name, plan.make, again=again)
                if local:
                    made[plan.key] = _Told(plan, local, self._worker(plan, local))
                    _beside(plan.name, local.try_again)
        except BaseException:
            _close(list(made.values()), 0.0)
            raise
        return made

    def _worker(self, plan: Plan, local: Local) -> Worker[Event]:
        return in_background(
            local.sink,
            plan.name,
            deadline_s=local.deadline_s,
            wanted=local.wanted,
            at_end=local.silence,
            answered=partial(self._answered, plan.name),
        )


def _close(told: Sequence[_Told], within_s: float) -> None:
    """Have them finish what they have in hand, and be silent."""
    until = time.monotonic() + within_s
    for each in told:
        if each.plan.pins and each.local.silence:  # a pin is given back at once
            each.local.silence()
        each.worker.close(until - time.monotonic())


def _beside(name: str, call: Callable[[], object]) -> None:
    """Run slow work in a thread of its own."""

    def run() -> None:
        try:
            call()
        except Exception as error:
            log.warning("%s cannot be tried (%s)", name, str(error) or type(error).__name__)

    threading.Thread(target=run, name="try", daemon=True).start()


def _problem(sink: Ask, before: Ask) -> str | None:
    """What a sink says, or what is wrong before it is needed."""
    return sink() or before()
