"""Phones, chats, mail, desktops: whatever an Apprise URL stands for is told in words, and shown the picture after."""

from __future__ import annotations

import hashlib
import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from typing import Any

from edge.errors import OptionError
from edge.outbox import Message
from edge.outbox.scrub import address_of, scrub, secrets_of
from edge.outbox.wording import title_and_body
from edge.schema import Event

HELP = "https://appriseit.com/services/"
# What these libraries log names tokens and addresses; what matters of it goes into the error.
TALKATIVE = ("apprise", "urllib3", "requests_oauthlib", "oauthlib")
SILENCE = logging.NullHandler()


class Notify:
    """A channel for people: alarms, and what becomes of cameras and of the alarm itself; never the updates between.

    ``url`` is any Apprise URL, used as it is; ``now`` gives the time, told in ``zone`` or in this machine's. Loading
    Apprise takes a moment. Raises OptionError, without the URL, for one that Apprise cannot use.
    """

    people = True

    def __init__(
        self,
        url: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        zone: tzinfo | None = None,
    ) -> None:
        scheme = url.strip().partition("://")[0].lower()
        self._shown = f"{scheme}://…" if address_of(url.strip()) != "…" else "…"
        self._secrets = secrets_of(url.strip())
        self._now, self._zone = now, zone
        self._apprise, service = _load(url.strip())
        if service is None:
            raise OptionError(f"Apprise cannot use the URL {self._shown}: {self._cause(scheme)}")
        self.pictures = bool(service.attachment_support)
        # The whole URL may be secret: what is kept of it tells two apart, and no more.
        digest = hashlib.pbkdf2_hmac("sha256", url.strip().encode(), b"bear-alarm notify", 50_000).hex()[:6]
        self.key = f"notify {scheme} {digest}"

    def __repr__(self) -> str:
        return f"Notify({self._shown})"

    def wants(self, event: Event) -> bool:
        """Alarms and tests; cameras and the alarm itself when they fail and when they are well again."""
        return event.alarms or (event.kind in {"camera", "health"} and event.type in {"new", "end"})

    def send(self, message: Message) -> None:
        """Hand it to Apprise and wait. Raises RuntimeError, for Apprise does not say what would never be taken."""
        from apprise import NotifyFormat, NotifyType

        title, body = title_and_body(message, self._now(), self._zone)
        kinds = {"alarm": NotifyType.WARNING, "bad": NotifyType.FAILURE, "good": NotifyType.SUCCESS}
        attach = [str(message.picture)] if message.picture else None
        with _listening() as heard:
            arrived = self._apprise.notify(
                body=body,
                title=title,
                notify_type=kinds[_tone(message.events)],
                body_format=NotifyFormat.TEXT,
                attach=attach,
            )
        if not arrived:
            raise RuntimeError(scrub("; ".join(dict.fromkeys(heard)), self._secrets) or "Apprise does not say why")

    @property
    def problem(self) -> str | None:
        """None: nothing is known before something is sent."""
        return None

    def listen(self, call: Callable[[], None]) -> None:
        """Nothing is held that could come back: nobody is called."""

    def close(self) -> None:
        """Nothing is held between two messages."""

    def _cause(self, scheme: str) -> str:
        """Why there is no service, for the person who gave the URL."""
        from apprise import Apprise

        if self._shown == "…":
            return f"it needs to begin with a service's name and ://, as in ntfy://; see {HELP}"
        found = Apprise().details(show_requirements=True, show_disabled=True)["schemas"]
        service = next((each for each in found if scheme in _names(each)), None)
        if service is None:
            return f"it knows no such service; see {HELP}"
        if not service["enabled"]:
            needs = str(service["requirements"]["details"] or "").rstrip(".")
            return f"this system lacks what that service needs{f' ({needs})' if needs else ''}; see {HELP}"
        return f"something in it is missing or not as that service wants it; see {HELP}"


def _load(url: str) -> tuple[Any, Any]:
    """Apprise with one service, and the service; None where the URL is not usable."""
    for name in TALKATIVE:
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(SILENCE)
    import apprise

    # One service, called in our own thread: the deliverer keeps the time, and tries again.
    options: dict[str, Any] = {"app_id": "Bear Alarm", "app_desc": "Bear Alarm", "async_mode": False}
    if "service_timeout" in inspect.signature(apprise.AppriseAsset).parameters:
        options["service_timeout"] = 0  # else sends run in a pool, which holds up the program's end
    asset = apprise.AppriseAsset(**options)
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None:
        return None, None
    sender = apprise.Apprise(asset=asset)
    sender.add(service)
    return sender, service


def _names(service: dict[str, Any]) -> list[str]:
    return [*(service["protocols"] or ()), *(service["secure_protocols"] or ())]


def _tone(events: tuple[Event, ...]) -> str:
    """How a message looks where colours are: an alarm among them makes it one."""
    if any(event.alarms for event in events):
        return "alarm"
    return "good" if events[-1].type == "end" else "bad"


class _Ear(logging.Handler):
    """Keeps what one thread logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.heard.append(record.getMessage())


@contextmanager
def _listening() -> Iterator[list[str]]:
    """What Apprise logs in this thread as a warning or an error: it says nowhere else why something failed."""
    ear = _Ear()
    spoken = logging.getLogger("apprise")
    spoken.addHandler(ear)
    try:
        yield ear.heard
    finally:
        spoken.removeHandler(ear)
