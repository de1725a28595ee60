"""Who is told over a network: a library is loaded, and a connection made, only for what is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.outbox import Channel
    from edge.settings import AlertSettings


def channels_of(
    settings: AlertSettings,
    cameras: Sequence[str],
    *,
    model: str | None,
    watching: Callable[[str], bool],
    stats: Callable[[], Mapping[str, object]],
    guest: bool,
) -> list[Channel]:
    """One channel for each place that is named. Raises OptionError, without secrets, for what cannot be used."""
    found: list[Channel] = []
    try:
        if settings.mqtt:
            from edge.sinks.mqtt import Mqtt

            found.append(Mqtt(settings.mqtt, cameras, model=model, watching=watching, stats=stats, guest=guest))
        if settings.webhook:
            from edge.sinks.webhook import Webhook

            found.append(Webhook(settings.webhook, secret=settings.webhook_secret))
        if settings.notify:
            from edge.sinks.notify import Notify

            for url in settings.notify:
                found.append(Notify(url))
        keys = [channel.key for channel in found]
        for key in keys:
            if keys.count(key) > 1:
                raise OptionError(f"{key} is named twice; once is enough")
    except BaseException:
        for channel in found:
            channel.close()
        raise
    return found
