"""A heartbeat: a URL is asked for every so often, only while all is well. Silence is the alarm."""

from __future__ import annotations

import http.client
import logging
import random
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from typing import IO
from urllib.parse import urljoin, urlsplit

from edge.alert.redact import address_of, error_words, scrub, secrets_of, web_address
from edge.background import start_thread
from edge.errors import OptionError
from edge.status import Status
from edge.version import __version__

log = logging.getLogger(__name__)

MIN_PERIOD_S, MAX_PERIOD_S = 10.0, 86_400.0  # between two beats
BEAT_TIMEOUT_S = 10.0
BEAT_RETRY_MIN_S = 10.0  # until a beat that failed is tried again; then twice as long each time
ILL_RETRY_S = 15.0  # until an alarm that is ill is looked at again
FAILING_REPORT_S = 3600.0  # of failing until it is a problem: a network that is away for a moment is none
ANSWER_MAX_BYTES = 200  # of an answer that are read


class Heartbeat:
    """Asks for ``url`` every ``every_s`` seconds while ``status`` reports that all is well, in a thread of its own.

    For healthchecks.io, Uptime Kuma's push monitors and the like, which raise an alarm when they are not asked in time:
    so an alarm that is ill, hangs, has no power or no network is noticed in the same way.

    ``sleep`` waits so many seconds and returns whether to stop; ``clock`` is in seconds, and both are for tests.
    Proxies are those of the environment. Raises OptionError for a URL or time it cannot use.
    """

    PART = "heartbeat"  # of edge.status: a problem of the heartbeat itself must not keep it silent

    def __init__(
        self,
        url: str,
        every_s: float,
        status: Callable[[], Status],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], bool] | None = None,
    ) -> None:
        if not MIN_PERIOD_S <= every_s <= MAX_PERIOD_S:
            raise OptionError(f"a heartbeat every {every_s:g} s makes no sense; give {MIN_PERIOD_S:g} s to a day")
        self._shown = address_of(url)
        self._secrets = secrets_of(url)
        self._to = web_address(url, "the heartbeat")
        self._every_s = every_s
        self._status = status
        self._clock = clock
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait
        self._opener = urllib.request.build_opener(_SameHostRedirects)
        self._failing_since: float | None = None
        self._why = ""
        self._logged: str | None = None
        self._thread = start_thread(self._run, "heartbeat")

    def problem(self) -> str | None:
        """Return what is wrong where no beat has arrived for an hour; None while all is well."""
        since = self._failing_since
        if since is None or self._clock() - since < max(FAILING_REPORT_S, 3.0 * self._every_s):
            return None
        return f"the heartbeat has not reached {self._shown} for {(self._clock() - since) / 60.0:.0f} min ({self._why})"

    def close(self) -> None:
        """Stop beating, without waiting for a beat that is under way. May be called twice."""
        self._closed.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        # A camera takes a moment to open, and until then all is not well.
        if self._sleep(min(BEAT_RETRY_MIN_S, self._every_s)):
            return
        pause = BEAT_RETRY_MIN_S
        while not self._closed.is_set():
            if not self._well():
                wait = ILL_RETRY_S
            elif self._beat():
                wait, pause = self._every_s, BEAT_RETRY_MIN_S
            else:
                wait, pause = pause * (0.75 + 0.5 * random.random()), min(pause * 2.0, self._every_s)
            if self._sleep(min(wait, self._every_s)):
                return

    def _well(self) -> bool:
        try:
            status = self._status()
            others = {name: words for name, words in status.problems.items() if name != self.PART}
            ill = replace(status, problems=others).ill
        except Exception as error:
            ill = [f"the state of the alarm is unknown: internal error ({type(error).__name__})"]
        words = scrub(ill[0], self._secrets) if ill else None
        if words and self._logged is None:
            log.warning("no heartbeat from now on, for the alarm is not well: %s", words)
        elif self._logged and not words:
            log.info("all is well again: the heartbeat goes on")
        self._logged = words
        return not ill

    def _beat(self) -> bool:
        # A new one each time: urllib leaves in it by which proxy it went, and would go wrong the next time.
        request = urllib.request.Request(self._to.url, headers={"User-Agent": f"bear-alarm/{__version__}"})
        if self._to.login:
            request.add_unredirected_header("Authorization", self._to.login)
        try:
            with self._opener.open(request, timeout=BEAT_TIMEOUT_S) as answer:
                why = _refusal(answer.read(ANSWER_MAX_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                why = f"HTTP {error.code} {error.reason}"
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


class _SameHostRedirects(urllib.request.HTTPRedirectHandler):
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
        """Make the next request. Raises HTTPError where it would lead elsewhere."""
        before, after = urlsplit(req.full_url), urlsplit(urljoin(req.full_url, newurl))
        if (
            after.scheme not in {"https", before.scheme}
            or after.hostname != before.hostname
            or after.username is not None
        ):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _refusal(body: bytes) -> str | None:
    """Find a 200 that means no: healthchecks.io answers a check it does not know with "OK (not found)"."""
    match = re.match(rb"OK \(([a-z ]{3,40})\)", body)
    return f"it answers {match[1].decode()!r}: copy the address again" if match else None


def _why(error: BaseException) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return error_words(reason) if isinstance(reason, BaseException) else str(reason)
