"""A dead man's switch: a URL is asked for every so often, only while all is well. Silence is the alarm.

For healthchecks.io, Uptime Kuma's push monitors and the like: whoever watches that URL raises an alarm when it has not
been asked for in time. So an alarm that is ill, hangs, has no power or no network is told of in the same way, also
where it could not say so itself. What is wrong is told by ``health`` events and by ``/healthz``; a second URL for bad
news (``/fail``) would only be a little sooner, on one service of many, and flap with every camera.
"""

from __future__ import annotations

import http.client
import logging
import random
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from typing import IO
from urllib.parse import urljoin, urlsplit

import edge
from edge.alert.redact import address_of, error_words, scrub, secrets_of, web_address
from edge.errors import OptionError
from edge.status import Status

log = logging.getLogger(__name__)

PART = "heartbeat"  # of edge.status: what this says of itself must not keep it silent
TIMEOUT_S = 10.0
LOOK_S = 15.0  # until an alarm that is ill is looked at again
FIRST_S = 10.0  # until a beat that failed is tried again; then twice as long each time
LONG_S = 3600.0  # of failing until it is told: a network that is away is nobody's news
MOST_BYTES = 200  # of an answer that are read
LEAST_S, MOST_S = 10.0, 86_400.0  # between two beats


class Heartbeat:
    """Asks for ``url`` every ``every_s`` seconds while ``status`` says that all is well, in a thread of its own.

    ``sleep`` waits so many seconds and says whether to stop; ``clock`` is in seconds, and both are for tests.
    Proxies are those of the environment. Raises OptionError for a URL or time it cannot use.
    """

    def __init__(
        self,
        url: str,
        every_s: float,
        status: Callable[[], Status],
        *,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], bool] | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not LEAST_S <= every_s <= MOST_S:
            raise OptionError(f"a heartbeat every {every_s:g} s makes no sense; give {LEAST_S:g} s to a day")
        self._shown = address_of(url)
        self._secrets = secrets_of(url)
        self._to = web_address(url, "the heartbeat")
        self._every_s = every_s
        self._timeout_s = timeout_s
        self._status = status
        self._clock = clock
        self._chance = chance
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait
        self._opener = urllib.request.build_opener(_SameHost)
        self._failing_since: float | None = None
        self._why = ""
        self._said: str | None = None
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"Heartbeat({self._shown}/…)"

    def problem(self) -> str | None:
        """What is wrong where no beat has arrived for an hour, in one sentence; None while all is well."""
        since = self._failing_since
        if since is None or self._clock() - since < max(LONG_S, 3.0 * self._every_s):
            return None
        return f"the heartbeat has not reached {self._shown} for {(self._clock() - since) / 60.0:.0f} min ({self._why})"

    def close(self) -> None:
        """Beat no more; a beat that is under way is left to itself. May be called twice."""
        self._closed.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        # A camera takes a moment to open, and until then all is not well.
        if self._sleep(min(FIRST_S, self._every_s)):
            return
        pause = FIRST_S
        while not self._closed.is_set():
            if not self._well():
                wait = LOOK_S
            elif self._beat():
                wait, pause = self._every_s, FIRST_S
            else:
                wait, pause = pause * (0.75 + 0.5 * self._chance()), min(pause * 2.0, self._every_s)
            if self._sleep(min(wait, self._every_s)):
                return

    def _well(self) -> bool:
        try:
            status = self._status()
            others = {name: words for name, words in status.problems.items() if name != PART}
            ill = replace(status, problems=others).ill
        except Exception as error:
            ill = [f"the state of the alarm is unknown: internal error ({type(error).__name__})"]
        words = scrub(ill[0], self._secrets) if ill else None
        if words and self._said is None:
            log.warning("no heartbeat from now on, for the alarm is not well: %s", words)
        elif self._said and not words:
            log.info("all is well again: the heartbeat goes on")
        self._said = words
        return not ill

    def _beat(self) -> bool:
        # A new one each time: urllib leaves in it by which proxy it went, and would go wrong the next time.
        request = urllib.request.Request(self._to.url, headers={"User-Agent": f"bear-alarm/{edge.__version__}"})
        if self._to.login:
            request.add_unredirected_header("Authorization", self._to.login)
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                why = _refusal(answer.read(MOST_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                why = _http_words(error)
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = _why(error)
        return self._note(why)

    def _note(self, why: str | None) -> bool:
        if why is None:
            if self._failing_since is not None:
                lasted_s = self._clock() - self._failing_since
                log.info("the heartbeat reaches %s again after %.0f s", self._shown, lasted_s)
            self._failing_since = None
            return True
        self._why = scrub(why, self._secrets)
        if self._failing_since is None:
            self._failing_since = self._clock()
            log.warning("the heartbeat does not reach %s (%s); tried again", self._shown, self._why)
        return False


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows to the same host and to no weaker a line: the path may be a secret, and the login is one."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """The next request. Raises HTTPError where it would lead elsewhere."""
        before, after = urlsplit(req.full_url), urlsplit(urljoin(req.full_url, newurl))
        if (
            after.scheme not in {"https", before.scheme}
            or after.hostname != before.hostname
            or after.username is not None
        ):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _refusal(body: bytes) -> str | None:
    """What a 200 says that means no: healthchecks.io answers a check it does not know with "OK (not found)"."""
    match = re.match(rb"OK \(([a-z ]{3,40})\)", body)
    return f"it answers {match[1].decode()!r}: copy the address again" if match else None


def _http_words(error: urllib.error.HTTPError) -> str:
    if 300 <= error.code < 400:
        return f"HTTP {error.code}: it has moved to another host; give the address it has now"
    return f"HTTP {error.code} {error.reason}"


def _why(error: BaseException) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({reason.verify_message})"
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    return error_words(reason) if isinstance(reason, BaseException) else str(reason)
