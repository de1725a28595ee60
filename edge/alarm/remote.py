"""Who is told over a network: a library is loaded, and a connection made, only for what is named."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge.errors import NOT_HERE, OptionError

if TYPE_CHECKING:
    from edge.alarm.missing import Missing
    from edge.record.outbox import Channel, Route
    from edge.schema import Event
    from edge.settings import AlertSettings


@dataclass(slots=True)
class _Broker:
    """What the journal needs to know of MQTT before that is connected."""

    key: str
    pictures: bool

    def wants(self, event: Event) -> bool:
        return True


@dataclass(frozen=True)
class ChannelPlan:
    """A channel that is to be; plans with the same ``key`` are the same channel."""

    key: Hashable
    name: str  # for people, without secrets
    make: Callable[[], Channel]
    late: Route | None = None  # None: making it connects nothing, so it may be made to see whether it can be


def channel_plans(
    settings: AlertSettings,
    cameras: Sequence[str],
    *,
    model: str | None,
    watching: Callable[[str], bool],
    stats: Callable[[], Mapping[str, object]],
    guest: bool,
) -> list[ChannelPlan]:
    """One for each place that is named. ``make`` raises OptionError, without secrets, for what cannot be used.

    So does this for an MQTT broker, which is connected to as soon as it is made.
    """
    plans: list[ChannelPlan] = []
    if settings.mqtt:
        broker = settings.mqtt
        with suppress(*NOT_HERE):  # it is missing then, and tried again
            broker.tls_context()
        late = _Broker(f"mqtt {broker.where}/{broker.prefix}", broker.pictures)

        def mqtt() -> Channel:
            from edge.sinks.mqtt import Mqtt

            return Mqtt(broker, cameras, model=model, watching=watching, stats=stats, guest=guest)

        plans.append(ChannelPlan(("mqtt", broker, tuple(cameras), model), late.key, mqtt, late))
    if settings.webhook:
        url, secret = settings.webhook, settings.webhook_secret

        def webhook() -> Channel:
            from edge.sinks.webhook import Webhook

            return Webhook(url, secret=secret)

        plans.append(ChannelPlan(("webhook", url, secret), "webhook", webhook))
    for number, one in enumerate(settings.notify, 1):

        def notify(url: str = one) -> Channel:
            from edge.sinks.notify import Notify

            return Notify(url)

        plans.append(ChannelPlan(("notify", one), f"notify {number}" if settings.notify[1:] else "notify", notify))
    return plans


def made(
    plans: Sequence[ChannelPlan], missing: Missing, beside: Collection[str] = (), *, again: bool = False
) -> dict[Hashable, Channel]:
    """The channels that can be made now, by their plans' keys; the others are ``missing``.

    ``beside``: keys of channels that are there already, of which none may be a second. Raises OptionError, having
    closed what was made, for what can never work, unless ``again``.
    """
    found: dict[Hashable, Channel] = {}

    def make(plan: ChannelPlan) -> Channel:
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
