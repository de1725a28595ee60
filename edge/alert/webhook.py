"""Each event as JSON to a web address of the user's, signed, and its picture after it.

A receiver checks a request in five lines of Python (``headers`` and ``body`` as they came, ``secret`` as agreed)::

    key, moment = headers["Idempotency-Key"], headers["X-Bear-Alarm-Timestamp"]
    signed = f"{key}.{moment}.".encode() + body
    right = "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(right, headers["X-Bear-Alarm-Signature"])
    assert abs(time.time() - int(moment)) < 300  # where both clocks are set

and answers 2xx. A key that came before is the same message again: answer 2xx, and do nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import re
import ssl
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from edge.alert.redact import error_words, scrub, secrets_of, web_address
from edge.errors import OptionError
from edge.record.outbox import Message, NotYetError, RefusedError
from edge.schema import Event
from edge.version import __version__

TIMEOUT_S = 10.0  # for the connection and each answer
# Of 4xx: not now, rather than never. Once an expired password is renewed, everything is sent.
LATER = frozenset({401, 403, 407, 408, 425, 429})


class Webhook:
    """A channel for machines: POST, in the journal's order, until it is answered with 2xx.

    ``secret`` signs each request. Redirects are not followed, and TLS certificates are checked. Raises OptionError for
    a URL it cannot use.
    """

    people = False
    pictures = True
    problem: str | None = None  # nothing is known before something is sent

    def __init__(self, url: str, *, secret: str | None = None) -> None:
        self._secrets = (*secrets_of(url), *((secret,) if secret else ()))
        self._secret = secret
        if secret is not None and not secret.strip():
            raise OptionError("the webhook's secret is empty; give one, or leave it out")
        self._to = web_address(url, "the webhook")
        self._tls = ssl.create_default_context() if self._to.tls else None
        # Only the path distinguishes two hooks on the same host, and it may be a secret.
        path, host = urlsplit(url).path, self._to.host
        digest = hashlib.pbkdf2_hmac("sha256", path.encode(), host.encode(), 50_000).hex()[:6]
        self.key = f"webhook {host}:{self._to.port} {digest}"

    def wants(self, event: Event) -> bool:
        """Return all of them: a machine sorts them out itself."""
        return True

    def send(self, message: Message) -> None:
        """POST one event or its picture. Raises RefusedError, NotYetError, RuntimeError, OSError without secrets."""
        event = message.events[0]
        if message.part == "picture":
            assert message.picture
            body, kind = message.picture.read_bytes(), "image/jpeg"
        else:
            body, kind = event.to_json().encode(), "application/json"
        try:
            status, reason, after = self._post(body, self._headers(event, message.part, kind, body))
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionError(f"{self._to.host}: {scrub(error_words(error), self._secrets)}") from None
        if 200 <= status < 300:
            return
        why = f"{self._to.host} answered HTTP {status} {scrub(reason, self._secrets)}".rstrip()
        if status in {429, 503} and (after_s := _seconds(after)):
            raise NotYetError(why, after_s)
        if 300 <= status < 400:
            raise RuntimeError(f"{why}: it has moved; give the address it has now")
        if 400 <= status < 500 and status not in LATER:
            raise RefusedError(why)
        raise RuntimeError(why)

    def listen(self, call: Callable[[], None]) -> None:
        """Do nothing: no connection is held that could come back."""

    def close(self) -> None:
        """Do nothing: no connection is held between two requests."""

    def _headers(self, event: Event, part: str, kind: str, body: bytes) -> dict[str, str]:
        key, moment = f"{event.boot_id}-{event.seq}-{part}", str(int(time.time()))
        headers = {
            "Content-Type": kind,
            "User-Agent": f"bear-alarm/{__version__}",
            "Connection": "close",
            "Idempotency-Key": key,
            "X-Bear-Alarm-Event": event.id,
            "X-Bear-Alarm-Part": part,
            "X-Bear-Alarm-Timestamp": moment,
        }
        if self._secret is not None:
            signed = hmac.new(self._secret.encode(), f"{key}.{moment}.".encode() + body, hashlib.sha256)
            headers["X-Bear-Alarm-Signature"] = f"sha256={signed.hexdigest()}"
        if self._to.login:
            headers["Authorization"] = self._to.login
        return headers

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, str | None]:
        """Status, reason and Retry-After of the answer; the rest of it is not read."""
        if self._tls:
            line: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._to.host, self._to.port, timeout=TIMEOUT_S, context=self._tls
            )
        else:
            line = http.client.HTTPConnection(self._to.host, self._to.port, timeout=TIMEOUT_S)
        try:
            try:
                line.request("POST", self._to.path, body, headers)
            except (BrokenPipeError, ConnectionResetError):
                if line.sock is None:
                    raise
                # The server closed the connection on a picture that is too big: it may have answered before.
            answer = line.getresponse()
            return answer.status, answer.reason, answer.getheader("Retry-After")
        finally:
            line.close()


def _seconds(after: str | None) -> float:
    """Retry-After in seconds; its other form, a date, needs clocks that agree: 0, for our own back-off."""
    return float(after) if after and re.fullmatch(r"\d{1,6}", after.strip()) else 0.0
