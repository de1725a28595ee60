"""Alerts over a network: MQTT, the webhook and people's phones, each fed by a deliverer from the journal's outbox.

To add one: write it in ``edge/alert/`` as a ``Channel`` of ``edge.record.outbox``, and make a ``ChannelSpec`` of it in
``channel_plans``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from edge.alert.unavailable import Unavailable
from edge.background import Sink, Worker, in_background
from edge.errors import NOT_HERE, OptionError

if TYPE_CHECKING:
    from edge.alert.delivery import Deliverer
    from edge.record.journal import Journal
    from edge.record.outbox import Channel, Route
    from edge.schema import Event
    from edge.settings import AlertSettings
    from edge.status import Ask

log = logging.getLogger(__name__)

KINDS = frozenset({"bear", "camera"})


class RemoteChannels:
    """MQTT, the webhook and people's phones. ``remember`` gives the journal that queues for these channels."""

    def __init__(
        self,
        *,
        remember: Callable[[Sequence[Route]], Journal | None],
        watching: Callable[[str], bool],
        stats: Callable[[], Mapping[str, object]],
    ) -> None:
        self._remember = remember
        self._watching = watching
        self._stats = stats
        self._reached: dict[Hashable, _Reached] = {}
        self.missing = Unavailable()
        self._plans: Sequence[ChannelSpec] = ()  # all that are wanted

    @property
    def workers(self) -> list[Worker[Event]]:
        """Return the workers of channels that keep a live state."""
        return [each.state for each in self._reached.values() if each.state]

    @property
    def states(self) -> dict[Sink, Sink]:
        """Return the channels that keep a live state, by their workers."""
        return {each.state: each.channel for each in self._reached.values() if each.state and callable(each.channel)}

    @property
    def deliverers(self) -> list[Deliverer]:
        """Return one deliverer for each channel."""
        return [each.deliverer for each in self._reached.values() if each.deliverer]

    @property
    def parts(self) -> dict[str, Ask]:
        """Return what health asks, by name."""
        parts: dict[str, Ask] = {each.name: each.deliverer.problem for each in self._reached.values() if each.deliverer}
        parts |= self.missing.parts
        return parts | {each.name: each.problem for each in self.workers}

    def plan(self, settings: AlertSettings, cameras: Sequence[str], model: str | None) -> None:
        """Plan the channels of these settings. Raises OptionError, without secrets, for a value that can never work."""
        self._plans = channel_plans(settings, cameras, model=model, watching=self._watching, stats=self._stats)
        for channel in made([plan for plan in self._plans if not plan.connects], Unavailable()).values():
            channel.close()

    def make(self) -> None:
        """Make the channels that were planned and are not there yet; what cannot be made now is missing."""
        lacking = set(self.missing.why)
        beside = {each.channel.key for each in self._reached.values()}
        names = {plan.key: plan.name for plan in self._plans}
        channels = made(
            [plan for plan in self._plans if plan.key not in self._reached], self.missing, beside, again=True
        )
        new = {
            key: _Reached(names[key] if names[key] in lacking else channel.key, channel, self._worker(channel))
            for key, channel in channels.items()
        }
        journal = self._remember([each.channel for each in (*self._reached.values(), *new.values())])
        for key, each in new.items():
            new[key] = replace(each, deliverer=self._deliverer(each.channel, journal))
        self._reached = self._reached | new  # in one step: others look at it meanwhile

    def try_again(self, now: float) -> bool:
        """Try once a minute what could not be made; return whether one of them was made."""
        if not self.missing.why or not self.missing.due(now):
            return False
        before = len(self._reached)
        self.make()
        return len(self._reached) > before

    def close(self, within_s: float) -> None:
        """Deliver what can be delivered in so many seconds; the rest is kept for the next time."""
        self._close(list(self._reached.values()), within_s)

    def _close(self, reached: Sequence[_Reached], within_s: float) -> None:
        from edge.alert.delivery import close_all

        for each in reached:
            if each.state:
                each.state.close(0.5)
        close_all([each.deliverer for each in reached if each.deliverer], max(within_s, 0.5) if reached else 0.0)
        for each in reached:
            if each.deliverer is None:
                each.channel.close()

    def _worker(self, channel: Channel) -> Worker[Event] | None:
        return in_background(channel, "mqtt state", deadline_s=30.0) if callable(channel) else None

    def _deliverer(self, channel: Channel, journal: Journal | None) -> Deliverer | None:
        if journal is None:
            return None
        from edge.alert.delivery import Deliverer

        return Deliverer(channel, journal)


class OpenEvents:
    """A sink that passes each event on to those who show a state, and keeps the bears and troubles that are not over.

    From any thread; those it passes events on to must return at once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # an end must not come before what it ends
        self._events: dict[str, Event] = {}  # the newest of each, by id
        self._shown: list[Sink] = []

    def __call__(self, event: Event) -> None:
        """Pass it on."""
        with self._lock:
            if event.kind in KINDS:
                self._events.pop(event.id, None)
                if event.type != "end":
                    self._events[event.id] = event
            for show in self._shown:
                show(event)

    def show_to(self, shown: Mapping[Sink, Sink], cameras: Collection[str]) -> None:
        """Pass events of these cameras to these sinks from now on; tell new ones first what is going on.

        ``shown``: who takes events -> the state behind it, which hears what goes on at once, and not when there is
        time for it.
        """
        with self._lock:
            self._events = {id_: event for id_, event in self._events.items() if event.camera in cameras}
            for state in (state for show, state in shown.items() if show not in self._shown):
                self._tell(state)
            self._shown = list(shown)

    def _tell(self, state: Sink) -> None:
        for event in self._events.values():
            try:
                state(event)
            except Exception as error:
                log.debug("what goes on cannot be shown (%s)", type(error).__name__, exc_info=error)


@dataclass(frozen=True)
class ChannelSpec:
    """A channel that is to be; plans with the same ``key`` are the same channel."""

    key: Hashable
    name: str  # for people, without secrets
    make: Callable[[], Channel]
    connects: bool = False  # when it is made; what does not may be made to see whether it can be


def channel_plans(
    settings: AlertSettings,
    cameras: Sequence[str] = (),
    *,
    model: str | None = None,
    watching: Callable[[str], bool] = lambda camera: False,
    stats: Callable[[], Mapping[str, object]] = dict,
    guest: bool = False,
) -> list[ChannelSpec]:
    """Return one for each place that is named. ``make`` raises OptionError, without secrets, for what cannot be used.

    So does this for an MQTT broker, which is connected to as soon as it is made. ``guest``: beside an alarm that
    watches, and without a state of its own.
    """
    plans: list[ChannelSpec] = []
    if settings.mqtt:
        broker = settings.mqtt
        with suppress(*NOT_HERE):  # it is missing then, and tried again
            broker.tls_context()
        name = f"mqtt {broker.where}/{broker.prefix}"

        def mqtt() -> Channel:
            from edge.alert.mqtt import Mqtt

            return Mqtt(broker, cameras, model=model, watching=watching, stats=stats, guest=guest)

        plans.append(ChannelSpec(("mqtt", broker, tuple(cameras), model), name, mqtt, connects=True))
    if settings.webhook:
        url, secret = settings.webhook, settings.webhook_secret

        def webhook() -> Channel:
            from edge.alert.webhook import Webhook

            return Webhook(url, secret=secret)

        plans.append(ChannelSpec(("webhook", url, secret), "webhook", webhook))
    for number, one in enumerate(settings.notify, 1):

        def notify(url: str = one) -> Channel:
            from edge.alert.notify import Notify

            return Notify(url)

        plans.append(ChannelSpec(("notify", one), f"notify {number}" if settings.notify[1:] else "notify", notify))
    return plans


def made(
    plans: Sequence[ChannelSpec], missing: Unavailable, beside: Collection[str] = (), *, again: bool = False
) -> dict[Hashable, Channel]:
    """Return the channels that can be made now, by their plans' keys; the others are ``missing``.

    ``beside``: keys of channels that are there already, of which none may be a second. Raises OptionError, having
    closed what was made, for what can never work, unless ``again``.
    """
    found: dict[Hashable, Channel] = {}

    def make(plan: ChannelSpec) -> Channel:
        channel = plan.make()
        if channel.key in beside or channel.key in {other.key for other in found.values()}:
            channel.close()
            raise OptionError(f"{channel.key} is named twice; once is enough")
        return channel

    try:
        for plan in plans:
            if channel := missing.make(plan.name, partial(make, plan), again=again):
                found[plan.key] = channel
    except BaseException:
        for channel in found.values():
            channel.close()
        raise
    return found


@dataclass(frozen=True, eq=False)
class _Reached:
    """One place: how to send to it, who sends, and its live state where it has one."""

    name: str  # by which health asks it: the one it was missing under, so that this problem ends, else its key
    channel: Channel
    state: Worker[Event] | None  # MQTT keeps a state as well
    deliverer: Deliverer | None = None
