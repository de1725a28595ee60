"""Alerts over a network: MQTT, the webhook, people's phones, SMS and LoRa, each fed by a deliverer from the outbox.

To add one: write it in ``edge/alert/`` as a ``Channel`` of ``edge.record.outbox``, and make a ``ChannelSpec`` of it in
``channel_plans``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from edge.alert.local_sinks import Unavailable
from edge.background import NO_ANSWER, DeadlineError, Worker, call_with_deadline, in_background
from edge.errors import NOT_HERE, OptionError

if TYPE_CHECKING:
    from edge.alert.confirmation import Confirmations, Question
    from edge.alert.delivery import Deliverer, RateLimit
    from edge.record.journal import Journal
    from edge.record.outbox import Channel, Message, Route
    from edge.schema import Event
    from edge.settings import AlertSettings
    from edge.status import Ask

log = logging.getLogger(__name__)

Texts = tuple[deque[float], threading.Lock]  # ``runs`` and ``sending`` of Text


class RemoteChannels:
    """MQTT, the webhook, people's phones and texts. ``remember`` gives the journal that queues for these channels."""

    def __init__(
        self,
        *,
        remember: Callable[[Sequence[Route]], Journal | None],
        watching: Callable[[str], bool],
        stats: Callable[[], Mapping[str, object]],
        confirmations: Confirmations,
        page: Callable[[], str | None],
        offered: Callable[[bytes], object] | None = None,
        before: RemoteChannels | None = None,
    ) -> None:
        self._rates: dict[str, RateLimit] = before._rates if before else {}  # by channel
        self._texts: Texts = before._texts if before else (deque(), threading.Lock())  # over all reloads
        self._remember = remember
        self._watching = watching
        self._stats = stats
        self._confirmations = confirmations
        self._page = page
        self._offered = offered
        self._journal: Journal | None = None
        self._reached: dict[Hashable, _Reached] = {}
        self.missing = Unavailable()
        self._plans: Sequence[ChannelSpec] = ()  # all that are wanted

    @property
    def workers(self) -> list[Worker[Event]]:
        """Return the workers of channels that keep a live state."""
        return [each.state for each in self._reached.values() if each.state]

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
        self._plans = channel_plans(
            settings,
            cameras,
            model=model,
            watching=self._watching,
            stats=self._stats,
            confirmations=self._confirmations,
            page=self._page,
            offered=self._offered,
            texts=self._texts,
            journal=lambda: self._journal,
        )
        for channel in made([plan for plan in self._plans if not plan.connects], Unavailable()).values():
            channel.close()

    def show(self, event: Event) -> None:
        """Show an event by each channel that keeps a live state, but no bear in shadow; returns at once."""
        if event.kind == "bear" and event.stage == "shadow":
            return
        for worker in self.workers:
            worker(event)

    def ask(self, question: Question) -> None:
        """Have each channel that takes answers publish a question, or what became of it; returns at once."""
        for each in self._reached.values():
            if isinstance(each.channel, Asking):
                each.channel.ask(question)

    def make(self) -> None:
        """Make the planned channels that are not there yet; what cannot be made now is missing."""
        lacking = set(self.missing.why)
        beside = {each.channel.key for each in self._reached.values()}
        plans = {plan.key: plan for plan in self._plans if plan.key not in self._reached}
        new = {}
        for key, channel in made(list(plans.values()), self.missing, beside, again=True).items():
            name = plans[key].name if plans[key].name in lacking else channel.key
            new[key] = _Reached(name, channel)
            if callable(channel):
                new[key].state = in_background(channel, "mqtt state", depth=1000, deadline_s=30.0)
        journal = self._journal = self._remember([each.channel for each in (*self._reached.values(), *new.values())])
        if journal and new:
            from edge.alert.delivery import Deliverer, RateLimit

            for each in new.values():
                rate = self._rates.setdefault(each.channel.key, RateLimit())
                each.deliverer = Deliverer(each.channel, journal, rate=rate)
        self._reached = self._reached | new  # in one step: others look at it meanwhile

    def try_again(self, now: float) -> None:
        """Try once a minute what could not be made."""
        if self.missing.why and self.missing.due(now):
            self.make()

    def close(self, within_s: float) -> None:
        """Deliver what can be delivered in so many seconds; the rest is kept for the next time."""
        reached = list(self._reached.values())
        if not reached:
            return
        from edge.alert.delivery import close_all

        for each in reached:
            if each.state:
                each.state.close(0.5)
        close_all([each.deliverer for each in reached if each.deliverer], max(within_s, 0.5))
        for each in reached:
            if each.deliverer is None:
                each.channel.close()


@runtime_checkable
class Asking(Protocol):
    """A channel that publishes questions, and takes answers."""

    def ask(self, question: Question) -> None:
        """Publish a question, or what became of it; return at once."""


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
    confirmations: Confirmations | None = None,
    page: Callable[[], str | None] = lambda: None,
    offered: Callable[[bytes], object] | None = None,
    texts: Texts | None = None,
    journal: Callable[[], Journal | None] | None = None,
    guest: bool = False,
) -> list[ChannelSpec]:
    """Return one for each place that is named. ``make`` raises OptionError, without secrets, for what cannot be used.

    So does this for an MQTT broker, which is connected to as soon as it is made. ``confirmations``: the questions that
    can be answered there; ``page``: the beginning of the page's URLs; ``offered``: takes what the broker offers
    as a new model; ``texts``: for ``Text``; ``journal``: gives the one that queues for them,
    once it is open. ``guest``: beside an alarm that watches, and without a state of its own.
    """
    plans: list[ChannelSpec] = []
    if settings.mqtt:
        broker = settings.mqtt
        with suppress(*NOT_HERE):  # it is missing then, and tried again
            broker.tls_context()
        name = f"mqtt {broker.where}/{broker.prefix}"

        def mqtt() -> Channel:
            from edge.alert.mqtt import Mqtt

            return Mqtt(
                broker,
                cameras,
                model=model,
                watching=watching,
                stats=stats,
                confirmations=confirmations,
                offered=offered,
                journal=journal,
                guest=guest,
            )

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

            return Notify(url, confirmations=confirmations, page=page)

        plans.append(ChannelSpec(("notify", one), f"notify {number}" if settings.notify[1:] else "notify", notify))
    if settings.text:
        command = settings.text

        def text() -> Channel:
            from edge.alert.text import Text

            return Text(command, *(texts or ()))

        plans.append(ChannelSpec(("text", command), "text", text))
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


@dataclass(eq=False)
class _Reached:
    """One place: how to send to it, who sends, and its live state where it has one."""

    name: str  # by which health asks it: the one it was missing under, so that this problem ends, else its key
    channel: Channel
    state: Worker[Event] | None = None  # shows MQTT's live state
    deliverer: Deliverer | None = None


def send_once(channel: Channel, message: Message, until: float, connected: threading.Event | None = None) -> str | None:
    """Send a message, for a test; return what went wrong, without secrets. ``until``: time.monotonic().

    ``connected``: set when the channel of a broker has connected; with it a message waits for that.
    """
    from edge.alert.mqtt_connection import UndeliveredError
    from edge.alert.redact import error_words, scrub

    while True:
        if connected:
            connected.clear()
        try:
            call_with_deadline(partial(channel.send, message), until - time.monotonic(), channel.key)
        except DeadlineError:
            return NO_ANSWER
        except UndeliveredError as error:
            if not connected or not connected.wait(max(until - time.monotonic(), 0.0)):
                return scrub(channel.problem or error_words(error))
        except Exception as error:
            return scrub(error_words(error))
        else:
            return None
