"""Those who are told over a network: a channel and its deliverer for each, exchanged while the alarm runs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edge.alarm.missing import Missing
from edge.alarm.remote import ChannelPlan, channel_plans, made
from edge.background import Worker, in_background

if TYPE_CHECKING:
    from edge.alarm.at_once import Answered
    from edge.background import Sink
    from edge.outbox.deliver import Deliverer
    from edge.record.journal import Journal
    from edge.record.outbox import Channel, Message, Route
    from edge.run import Run
    from edge.schema import Event
    from edge.settings import AlertSettings
    from edge.status import Ask

LET_GO_S = 2.0  # what is under way when a channel is told no more; the rest waits in the journal


@dataclass(frozen=True, eq=False)
class _Reached:
    """One place: how to send to it, who sends, and its live state where it has one."""

    name: str  # by which health asks it: the one it was missing under, so that this problem ends, else its key
    channel: Channel
    state: Worker[Event] | None  # MQTT keeps a state as well
    deliverer: Deliverer | None = None


class Away:
    """MQTT, the webhook and people's phones. ``remember`` gives the journal that queues for these channels."""

    def __init__(
        self,
        answered: Answered,
        *,
        run: Run,
        state: Path | None,
        remember: Callable[[Sequence[Route]], Journal | None],
        watching: Callable[[str], bool],
        stats: Callable[[], Mapping[str, object]],
        guest: bool,
    ) -> None:
        self._answered = answered
        self._run = run
        self._state = state
        self._remember = remember
        self._watching = watching
        self._stats = stats
        self._guest = guest
        self._reached: dict[Hashable, _Reached] = {}
        self.missing = Missing()
        self._plans: Sequence[ChannelPlan] = ()  # everyone who is wanted

    @property
    def workers(self) -> list[Worker[Event]]:
        """Those that keep a live state."""
        return [each.state for each in self._reached.values() if each.state]

    @property
    def states(self) -> dict[Sink, Sink]:
        """Those that keep a live state, by their workers."""
        return {each.state: each.channel for each in self._reached.values() if each.state and callable(each.channel)}

    @property
    def deliverers(self) -> list[Deliverer]:
        """One for each place."""
        return [each.deliverer for each in self._reached.values() if each.deliverer]

    @property
    def parts(self) -> dict[str, Ask]:
        """Whom health asks, by name."""
        parts: dict[str, Ask] = {each.name: each.deliverer.problem for each in self._reached.values() if each.deliverer}
        parts |= self.missing.parts
        return parts | {each.name: each.problem for each in self.workers}

    def plan(self, settings: AlertSettings, cameras: Sequence[str], model: str | None) -> list[ChannelPlan]:
        """Plan the channels of these settings. Raises OptionError, without secrets, for a value that can never work."""
        plans = channel_plans(
            settings, cameras, model=model, watching=self._watching, stats=self._stats, guest=self._guest
        )
        for channel in made([plan for plan in plans if plan.late is None], Missing()).values():
            channel.close()
        return plans

    def change(self, plans: Sequence[ChannelPlan]) -> None:
        """Those places and no others; who stays the same is not disturbed, what waits for the others is kept.

        ``plan`` has refused what can never work: what cannot be made by now is missing.
        """
        names = {plan.key: plan.name for plan in plans}
        self._plans = plans
        self.missing.keep(names.values())
        lacking = set(self.missing.why)
        gone = {key: each for key, each in self._reached.items() if key not in names}
        stay = {
            key: each if each.name == names[key] else replace(each, name=each.channel.key)
            for key, each in self._reached.items()
            if key in names
        }
        beside = {each.channel.key for each in stay.values()}
        new_plans = [plan for plan in plans if plan.key not in stay]
        channels = made([plan for plan in new_plans if plan.late is None], self.missing, beside, again=True)
        if gone:  # that takes its time: what happens meanwhile is for those who come, and for nobody who goes
            routes = [*(each.channel for each in stay.values()), *channels.values()]
            self._remember([*routes, *(plan.late for plan in new_plans if plan.late)])
        # Before others come: two with one broker would say "online" and "offline" of the same device.
        self._close(list(gone.values()), LET_GO_S)
        self._reached = stay
        channels |= made([plan for plan in new_plans if plan.late], self.missing, beside, again=True)
        new = {
            key: _Reached(name if name in lacking else channels[key].key, channels[key], self._worker(channels[key]))
            for key, name in names.items()
            if key in channels
        }
        everyone = self._reached | new
        journal = self._remember([each.channel for each in everyone.values()])
        for key, each in new.items():
            everyone[key] = replace(each, deliverer=self._deliverer(each.channel, journal))
        self._reached = everyone  # in one step: others look at it meanwhile

    def try_again(self, now: float) -> bool:
        """Once a minute, what cannot be made is tried again; whether one of them was made."""
        if not self.missing.why or not self.missing.due(now):
            return False
        before = len(self._reached)
        self.change(self._plans)
        return len(self._reached) > before

    def close(self, within_s: float) -> None:
        """Deliver what can be delivered in so many seconds; the rest is kept for the next time."""
        self._close(list(self._reached.values()), within_s)

    def _close(self, reached: Sequence[_Reached], within_s: float) -> None:
        from edge.outbox.deliver import close_all

        for each in reached:
            if each.state:
                each.state.close(0.5)
        close_all([each.deliverer for each in reached if each.deliverer], max(within_s, 0.5) if reached else 0.0)
        for each in reached:
            if each.deliverer is None:
                each.channel.close()

    def _worker(self, channel: Channel) -> Worker[Event] | None:
        if self._guest or not callable(channel):
            return None
        return in_background(channel, "mqtt state", deadline_s=30.0, answered=partial(self._answered, "mqtt state"))

    def _deliverer(self, channel: Channel, journal: Journal | None) -> Deliverer | None:
        if journal is None or self._state is None:
            return None
        from edge.outbox.deliver import Deliverer
        from edge.outbox.turn import Turn

        turn = Turn(self._state, channel.key)
        return Deliverer(channel, journal, answered=partial(self._heard, channel.key), turn=turn, run=self._run.id)

    def _heard(self, key: str, message: Message, problem: str | None, took_ms: float) -> None:
        """What a channel answered to a message."""
        who = key if message.part == "word" else f"{key}, picture"
        for event in message.events:
            self._answered(who, event, problem, took_ms)
