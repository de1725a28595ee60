"""Whether the alarm still works, so that one that hangs is started again, and one whose camera is dead is not.

Watchdog      fed while loops go on and the model answers         edge.watchdog
Notifier      the service manager it is fed to                    edge.watchdog.notify
Pulse         one real inference every 20 s                       edge.watchdog.pulse
Escalation    reopen -> restart -> reboot                         edge.watchdog.escalation
"""

from __future__ import annotations

import logging

from edge.status import Status
from edge.watchdog.escalation import REBOOT, RESTART, Escalation, Order
from edge.watchdog.notify import SLOW_START_S, Notifier

__all__ = [
    "ALIVE_S", "INFERENCE_S", "REBOOT", "RESTART", "SLOW_START_S", "Escalation", "Notifier", "Order", "Watchdog",
    "summary",
]  # fmt: skip

log = logging.getLogger(__name__)

# A loop goes on at least once a second while its camera is away: nothing there waits for a driver
# (edge.camera.reconnect). After a fault of ours it rests for up to 30 s.
ALIVE_S = 60.0
# And so much longer as scoring one picture may take: one that arrived in a folder is given up to 100 crops at once
# (edge.alarm.watchers), on a slow board with four cameras 1 to 2 s each. Who is ended over it begins with it again.
CROPS = 100
SLOWEST_CROP_S = 2.0  # what is slower hangs; also taken while none was scored yet
# A heartbeat inference comes every 20 s and takes 1 to 2 s on such a board; more than two of them missed.
INFERENCE_S = 60.0
# For one time within which it must be fed: the main loop may be away for most of it, as in a reload whose old cameras
# and new folders all hang.
FEEDS = 12
SAY_S = 10.0  # a trouble that counts seconds need not be said each second


class Watchdog:
    """Feeds the service manager's watchdog while the alarm can be relied on to see a bear, or to say that it cannot.

    Called from the main loop, once a second or more often: that it is called at all is the first proof. The others:
    each live camera's loop went on lately, with frames or with reconnecting, and a heartbeat inference finished
    lately. A dead camera is no reason: it is told, and starting again would help nobody.

    Without a service manager nothing is fed, and ``problem`` judges all the same.
    """

    def __init__(self, notifier: Notifier, *, alive_s: float = ALIVE_S, inference_s: float = INFERENCE_S) -> None:
        self.notifier = notifier
        self.alive_s = alive_s
        self.inference_s = inference_s
        self._problems: list[str] = []
        self._began: float | None = None
        self._fed_at: float | None = None
        self._said_at = 0.0

    def __call__(self, status: Status, now: float) -> bool:
        """Judge, and feed it when that is due; whether it was fed. ``now``: time.monotonic(), seconds."""
        if self._began is None:
            self._began = self._said_at = now  # what was said when it became ready stands for a while
        before, self._problems = self._problems, self._judge(status, now)
        self._say(before)
        if self._problems != before or now - self._said_at >= SAY_S:
            self._said_at = now
            self.notifier.status("; ".join(self._problems) or summary(status))
        due_s = self.notifier.watchdog_s
        if self._problems or due_s is None:
            return False
        if self._fed_at is not None and now - self._fed_at < due_s / FEEDS:
            return False
        if not self.notifier.feed():
            return False  # with the next call
        self._fed_at = now
        return True

    def problem(self) -> str | None:
        """Why it is not fed, as of the last call; None: all goes on."""
        return "; ".join(self._problems) or None

    def _judge(self, status: Status, now: float) -> list[str]:
        assert self._began is not None
        live = [each for each in status.cameras if each.live]
        crop_s = SLOWEST_CROP_S if status.crop_ms is None else min(status.crop_ms / 1000.0, SLOWEST_CROP_S)
        found = [
            f"{each.name}: its loop has not gone on for {self.alive_s:g} s, so a bear there is not seen; it hangs"
            for each in live
            if each.alive_age_s > self.alive_s + CROPS * crop_s
        ]
        age_s = now - self._began if status.inference_age_s is None else status.inference_age_s
        if live and age_s > self.inference_s:
            found.append(f"the model has not answered for {self.inference_s:g} s, so no bear is known; it hangs")
        return found

    def _say(self, before: list[str]) -> None:
        """In the log, once: nothing can be said any more when the service manager acts."""
        fed = self.notifier.watchdog_s is not None
        for words in self._problems:
            if words not in before:
                log.error("%s%s", words, "; the watchdog is not fed, and the alarm is started again" if fed else "")
        for words in before:
            if words not in self._problems:
                log.warning("no longer: %s", words)


def summary(status: Status) -> str:
    """One line for people: what is wrong, else what is watched."""
    if ill := status.ill:
        return ill[0] if len(ill) == 1 else f"{ill[0]} (and {len(ill) - 1} more)"
    told = f"; bears told since the start: {status.alarms}" if status.alarms else ""
    return f"watching {', '.join(each.name for each in status.cameras) or 'nothing'}{told}"
