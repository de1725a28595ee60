"""Phones, chats, mail, desktops: send what happened to any Apprise URL, and the picture after it."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edge.alert.delivery import OLD_S
from edge.alert.redact import address_of, scrub, secrets_of
from edge.errors import BearAlarmError, OptionError, UnavailableError
from edge.record.outbox import Message
from edge.schema import Event, readable

if TYPE_CHECKING:
    from edge.alert.confirmation import Confirmations, Question

HELP = "https://appriseit.com/services/"
# What these libraries log names tokens and addresses; what matters of it goes into the error.
LOGGERS = ("apprise", "urllib3", "requests_oauthlib", "oauthlib")
SILENCE = logging.NullHandler()
PUBLIC = "ntfy.sh"
MIN_TOPIC = 16  # letters: a shorter topic there, which everybody may read, can be guessed

_EMERGENCY: tuple[str, Any] = ("priority", "emergency")
_URGENT: tuple[str, Any] = ("urgency", "high")
_MAIL: tuple[str, Any] = ("headers", {"X-Priority": "1 (Highest)", "Importance": "high"})
# What makes an alarm break through "do not disturb", where a service can: Apprise's name for it, and its value.
# All other messages go as the service sends anything, and a value in the user's own URL goes before.
LOUD: Mapping[str, tuple[str, Any]] = {
    "ntfy": ("priority", "max"), "ntfys": ("priority", "max"),
    "pover": ("priority", "high"),  # breaks through quiet hours; "emergency" would repeat it until somebody confirms
    "gotify": _EMERGENCY, "gotifys": _EMERGENCY, "prowl": _EMERGENCY, "join": _EMERGENCY,
    "bark": ("level", "critical"), "barks": ("level", "critical"),
    "mailto": _MAIL, "mailtos": _MAIL,
    "dbus": _URGENT, "kde": _URGENT, "qt": _URGENT, "glib": _URGENT, "gio": _URGENT, "gnome": _URGENT,
}  # fmt: skip


def wanted_by_people(event: Event) -> bool:
    """Return True for alarms, tests, notices, and what fails or is well again."""
    return event.alarms or (event.kind in {"camera", "health", "notice"} and event.type in {"new", "end"})


class Notify:
    """A channel for people: alarms, and what becomes of cameras and of the alarm itself; never the updates between.

    ``url`` is any Apprise URL, used as it is. ``confirmations``: the questions about alarms; ``page``: the beginning of
    the URLs of the page on which they are answered, None where nobody reaches it. A topic of ntfy with a login gets
    buttons, at ntfy.sh only a long one, and no other service: anyone who reads a message could answer. Loading Apprise
    takes a moment. Without the URL in it, raises OptionError for one that Apprise can never use, and UnavailableError
    where this system lacks what the service needs.
    """

    people = True
    problem: str | None = None  # nothing is known before something is sent
    wants = staticmethod(wanted_by_people)

    def __init__(
        self,
        url: str,
        *,
        confirmations: Confirmations | None = None,
        page: Callable[[], str | None] = lambda: None,
    ) -> None:
        scheme = url.strip().partition("://")[0].lower()
        self._secrets = secrets_of(url.strip())
        self._confirmations = confirmations
        self._page = page
        self._apprise, self._loud, self._with_buttons, service = _load(url.strip())
        if service is None:
            raise _refusal(scheme if address_of(url.strip()) != "…" else "")
        self.pictures = bool(service.attachment_support)
        # The whole URL may be secret: the digest only distinguishes two of them.
        digest = hashlib.pbkdf2_hmac("sha256", url.strip().encode(), b"bear-alarm notify", 50_000).hex()[:6]
        self.key = f"notify {scheme} {digest}"

    def send(self, message: Message) -> None:
        """Send it by Apprise and wait. Raises RuntimeError, for Apprise does not report what would never be taken."""
        from apprise import NotifyFormat, NotifyType

        title, body = title_and_body(message, datetime.now(UTC))
        alarm = any(event.alarms for event in message.events)
        # The picture follows a word that was loud already; and what is an hour old need not wake anybody.
        loud = alarm and message.part == "word" and message.late_s <= OLD_S
        sender = self._loud if loud else self._apprise
        if loud and (question := self._question(message)):
            page = self._page()
            if page and self._with_buttons:
                sender = self._with_buttons(buttons(f"{page}/answer/{question.token}"))
            body += f"\n{question_words(question, page=bool(page), buttons=sender is not self._loud)}"
        kinds = {
            "alarm": NotifyType.WARNING,
            "bad": NotifyType.FAILURE,
            "good": NotifyType.SUCCESS,
            "note": NotifyType.INFO,
        }
        attach = [str(message.picture)] if message.picture else None
        with _captured_log() as logged:
            arrived = sender.notify(
                body=body,
                title=title,
                notify_type=kinds[_tone(message.events)],
                body_format=NotifyFormat.TEXT,
                attach=attach,
            )
        if not arrived:
            raise RuntimeError(scrub("; ".join(dict.fromkeys(logged)), self._secrets) or "Apprise gives no reason")

    def _question(self, message: Message) -> Question | None:
        """Return the open question that a message is about."""
        found = self._confirmations.open if self._confirmations and not message.digest else []
        return next((each for each in found if each.event.id == message.events[0].id), None)

    def listen(self, call: Callable[[], None]) -> None:
        """Do nothing: no connection is held that could come back."""

    def close(self) -> None:
        """Do nothing: no connection is held between two messages."""


def buttons(link: str) -> str:
    """Return the actions of an ntfy message (https://docs.ntfy.sh/publish/#action-buttons) that answer a question."""
    form = {"method": "POST", "headers": {"Content-Type": "application/x-www-form-urlencoded"}, "clear": True}
    actions = [
        {"action": "http", "label": label, "url": link, "body": f"answer={label.lower()}"} | form
        for label in ("Yes", "No")
    ]
    return json.dumps([*actions, {"action": "view", "label": "Look", "url": link}])


def question_words(question: Question, *, page: bool, buttons: bool) -> str:
    """Return what a message says of an open question; ``page``: others reach the page, ``buttons``: it has some."""
    how = "Is it a bear?" if buttons else "Is it a bear? Answer on the alarm's page." if page else ""
    words = question.words(time.monotonic())
    return f"{how} {words[:1].upper()}{words[1:]}.".strip()


def new_topic() -> str:
    """Return a topic for ntfy.sh that cannot be guessed."""
    return f"bears-{secrets.token_hex(8)}"  # small letters and digits: it is typed into a phone


def guessable(url: str) -> str | None:
    """Return one sentence for a topic of ntfy.sh that others may guess; None for any other URL."""
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname
        topics = [part for part in (host, *parts.path.split("/")) if part and part != PUBLIC]
    except ValueError:
        return None
    public = parts.scheme in ("ntfy", "ntfys") and (len(topics) == 1 or host == PUBLIC)
    if not public or all(len(topic) >= MIN_TOPIC for topic in topics):
        return None
    return (
        "a short topic of ntfy.sh can be guessed, and anyone who knows it can read every message; "
        f"take a long random one, such as ntfy://{new_topic()}"
    )


def _load(url: str) -> tuple[Any, Any, Callable[[str], Any] | None, Any]:
    """Return Apprise with one service, the same for alarms, a function for one with these actions, and the service.

    No function where the service may have no actions; None where the URL is not usable.
    """
    for name in LOGGERS:
        logging.getLogger(name).propagate = False
        logging.getLogger(name).addHandler(SILENCE)
    import apprise
    from apprise.plugins import url_to_dict

    # One service, called in the caller's thread: the deliverer keeps the time, and tries again.
    options: dict[str, Any] = {"app_id": "Bear Alarm", "app_desc": "Bear Alarm", "async_mode": False}
    options |= {"image_url_mask": "", "image_url_logo": ""}  # else phones fetch an icon from Apprise's own site
    if "service_timeout" in inspect.signature(apprise.AppriseAsset).parameters:
        options["service_timeout"] = 0  # else sends run in a pool, which holds up the program's end
    asset = apprise.AppriseAsset(**options)
    service = apprise.Apprise.instantiate(url, asset=asset)
    if service is None:
        return None, None, None, None
    given = url_to_dict(url) or {}
    name, value = LOUD.get(str(given.get("schema")), ("", None))
    own = given.get(name)
    if isinstance(value, dict):
        value, own = value | (own or {}), None
    louder = {name: value} if name and not own else {}

    def sender(one: Any) -> Any:
        one.request_rate_per_sec = 0  # an alarm waits for nothing; how much is sent at all, the deliverer limits
        found = apprise.Apprise(asset=asset)
        found.add(one)
        return found

    def loud(**more: str) -> Any:
        changes = louder | more
        return sender((apprise.Apprise.instantiate(given | changes, asset=asset) if changes else None) or service)

    login = given.get("mode") == "private" and (given.get("user") or given.get("token"))  # only then it is sent
    private = given.get("schema") in {"ntfy", "ntfys"} and login
    if private and given["host"].lower() == PUBLIC:  # where a login keeps nobody out of a topic
        private = all(len(topic) >= MIN_TOPIC for topic in given["targets"])
    return sender(service), loud(), (lambda actions: loud(actions=actions)) if private else None, service


def _refusal(scheme: str) -> BearAlarmError:
    from apprise import Apprise

    words = f"Apprise cannot use the URL {scheme}://…" if scheme else "Apprise cannot use this URL"
    for service in Apprise().details(show_requirements=True, show_disabled=True)["schemas"]:
        if scheme in (*(service["protocols"] or ()), *(service["secure_protocols"] or ())):
            if not service["enabled"]:
                return UnavailableError(f"{words} now: this system lacks what that service needs; see {HELP}")
            return OptionError(f"{words}: something in it is missing or not as that service wants it; see {HELP}")
    return OptionError(f"{words}: it knows no such service; write its name in front, as in ntfy://; see {HELP}")


def _tone(events: tuple[Event, ...]) -> str:
    """Return how a message looks where colours are: an alarm among them makes it one."""
    if any(event.alarms for event in events):
        return "alarm"
    if events[-1].kind == "notice":
        return "note"
    return "good" if events[-1].type == "end" else "bad"


class _ThreadLog(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(record.getMessage())


@contextmanager
def _captured_log() -> Iterator[list[str]]:
    """Collect Apprise's warnings and errors of this thread: it reports nowhere else why something failed."""
    handler = _ThreadLog()
    logger = logging.getLogger("apprise")
    logger.addHandler(handler)
    try:
        yield handler.lines
    finally:
        logger.removeHandler(handler)


# Events in words for phones: what, where, how sure and when, by this device's clock and time zone.

LATE_S = 120.0  # a longer delay is mentioned
LINES = 8  # events named one by one in a digest
KINDS = {
    "camera": "message about a camera",
    "health": "message about the alarm itself",
    "notice": "notice",
}


def title_and_body(message: Message, now: datetime, zone: tzinfo | None = None) -> tuple[str, str]:
    """Return a message's title and text; ``now`` is aware, and times are in ``zone`` (default: this machine's)."""
    title, body = _of_many(message.events, now, zone) if message.digest else _of_one(message, now, zone)
    return readable(title), readable(body)


def _of_one(message: Message, now: datetime, zone: tzinfo | None) -> tuple[str, str]:
    event = message.events[0]
    lines = [] if says_all(event) else [_sentence(event, now, zone)]
    if event.kind in {"camera", "health", "test"} and event.detail:
        lines.append(event.detail)
    if event.clock_synced is False:
        lines.append("The sender's clock was not set, so the time may be wrong.")
    if message.late_s >= LATE_S:
        lines.append(f"Sent {span(message.late_s)} late: it could not be sent before.")
    title = f"Picture: {title_of(event)}" if message.part == "picture" else title_of(event)
    return title, "\n".join(lines)


def _of_many(events: Sequence[Event], now: datetime, zone: tzinfo | None) -> tuple[str, str]:
    """Return how many of what, then the alarms line by line, the newest first, then the rest of them."""
    alarms = [event for event in events if event.alarms]
    counts = [_counted(len(alarms), "alarm")]
    counts += [
        _counted(n, what) for what, n in Counter(KINDS.get(e.kind, "message") for e in events if not e.alarms).items()
    ]
    shown = [*reversed(alarms), *(event for event in reversed(events) if not event.alarms)]
    lines = [f"{len(events)} events that could not be sent at once: {', '.join(counts)}."]
    lines += [_sentence(event, now, zone) for event in shown[:LINES]]
    if len(shown) > LINES:
        lines.append(f"and {len(shown) - LINES} more, since {when(events[0], now, zone)}.")
    title = f"{title_of(alarms[-1])}, and {len(events) - 1} more" if alarms else f"{len(events)} messages"
    return title, "\n".join(lines)


def says_all(event: Event) -> bool:
    """Return True if its detail needs no headline: a fleet's "Device north is offline since 02:14"."""
    return event.kind == "health" and (event.detail or "").startswith("Device ")


def title_of(event: Event) -> str:
    """Return an event's headline: "BEAR at yard"."""
    if event.kind == "bear":
        return f"BEAR at {event.camera}" + (" again" if event.escalated else "")
    if event.kind == "test":
        return "Test of the bear alarm"
    if event.kind == "notice":
        return f"Bear alarm: {'its model' if event.label == 'model' else f'camera {event.camera}'}"
    what = f"Camera {event.camera}" if event.kind == "camera" else "The bear alarm"
    if event.kind == "health" and (event.label or "").startswith("device "):  # of a fleet
        what = f"Device {(event.label or '').removeprefix('device ')}"
    return f"{what} is well again" if event.type == "end" else f"{what} has a problem"


def _sentence(event: Event, now: datetime, zone: tzinfo | None) -> str:
    at = when(event, now, zone)
    if event.kind == "bear":
        words = [f"{event.animal[:1].upper()}{event.animal[1:]}"]
        words += [f"{event.score:.0%} sure"] if event.score is not None else []
        words += [f"at {event.camera}"]
        words += [f"in {' and '.join(event.zones)}"] if event.zones else []
        words += [f"picture {event.file}"] if event.file else []
        words += [event.escalated] if event.escalated and not event.escalated.startswith("zone ") else []
        return f"{', '.join([*words, at])}."
    if event.kind == "test":
        return f"This is only a test, {at}."
    if event.kind == "notice":
        detail = (event.detail or "").rstrip(".")
        return f"{detail[:1].upper()}{detail[1:]} ({at})."
    what = f"{title_of(event)}, {at}"
    return f"{what} ({event.label.replace('_', ' ')})." if event.label else f"{what}."


def _counted(number: int, what: str) -> str:
    if number == 1:
        return f"1 {what}"
    head, _, tail = what.partition(" ")
    return f"{number} {head}s {tail}".rstrip() if number else f"no {head}s {tail}".rstrip()


def when(event: Event, now: datetime, zone: tzinfo | None, clock: str = "%H:%M:%S") -> str:
    """Return when it was, as ``clock`` has it (strftime), with the day when it is not today's."""
    try:
        at = datetime.fromisoformat(event.captured_at).astimezone(zone)
    except ValueError:
        return event.captured_at
    today = now.astimezone(zone).date()
    if at.date() == today:
        return f"{at:{clock}}"
    day = "yesterday" if at.date() == today - timedelta(days=1) else f"{at:%Y-%m-%d}"
    return f"{day} {at:{clock}}"


def span(seconds: float) -> str:
    """Return a time in words: "5 minutes"."""
    for unit_s, unit in ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute")):
        if seconds >= unit_s:
            number = round(seconds / unit_s)
            return f"{number} {unit}{'' if number == 1 else 's'}"
    return f"{seconds:.0f} seconds"
