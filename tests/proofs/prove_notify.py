"""How long a bear's message takes to a phone's server: alone, right behind another message, and beside a slow one.

    python tests/proofs/prove_notify.py

The real chain, from the event to Apprise's ntfy and over a real socket, to a receiver on this machine. Each round is
an alarm of its own, for people are told only so much in a minute.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.alerting import Alerting
from edge.record.run import EventFactory
from edge.settings import AlertSettings
from tests.helpers.webhook_server import PostBox, Posted

ROUNDS, PATIENCE_S, SLOW_S, WAITED_S = 20, 30.0, 3.0, 1.0
WELL, BEAR = "is well again", "BEAR"  # of the titles


class Clocked(list[Posted]):
    """Notes when each request came; ``before`` it is answered something may be done."""

    def __init__(self, before: Callable[[Posted], object]) -> None:
        super().__init__()
        self.before = before
        self.at: dict[str, float] = {}
        self.came = threading.Condition()

    def append(self, posted: Posted) -> None:
        with self.came:
            super().append(posted)
            kind = BEAR if BEAR in str(posted.headers) + posted.body.decode() else WELL
            self.at.setdefault(kind, time.perf_counter())
            self.came.notify_all()
        self.before(posted)

    def wait(self, kind: str) -> float:
        """When the first of that kind came."""
        with self.came:
            if not self.came.wait_for(lambda: kind in self.at, PATIENCE_S):
                raise SystemExit(f"no message with {kind!r} within {PATIENCE_S:g} s")
            return self.at[kind]


def took_s(*, behind: bool, slow_s: float = 0.0) -> float:
    """Seconds from the event of a bear to its message at the receiver; ``behind`` another one that just went.

    ``slow_s``: how long the receiver takes to answer that other one, which is under way then.
    """
    with PostBox() as box, tempfile.TemporaryDirectory() as folder:

        def before(posted: Posted) -> None:
            if slow_s and BEAR not in str(posted.headers) + posted.body.decode():
                time.sleep(slow_s)

        box.posted = came = Clocked(before)
        run = EventFactory()
        topic = f"ntfy://127.0.0.1:{box.port}/bears-0123456789abcdef"
        everyone = Alerting(AlertSettings(bell=False, notify=(topic,)), run, state=Path(folder))
        if behind:
            everyone.publish(run.event("camera", "end", "1" * 32, "yard", label="gone", detail="over after 20 s"))
            came.wait(WELL)
        event = run.event("bear", "new", "2" * 32, "yard", label="brown_bear", score=0.97, top_score=0.97)
        began = time.perf_counter()
        everyone.publish(event)
        found = came.wait(BEAR) - began
        everyone.close(1.0)
        return found


def main() -> None:
    """Print a table, in Markdown."""
    took_s(behind=True)  # Apprise is loaded
    rows = {
        "alone": [took_s(behind=False) for _ in range(ROUNDS)],
        "right behind another message": [took_s(behind=True) for _ in range(ROUNDS)],
        f"while the server takes {SLOW_S:g} s for another": [took_s(behind=True, slow_s=SLOW_S) for _ in range(3)],
    }
    print("| a bear's message, from the event to the receiver | median, ms | worst, ms | rounds |")
    print("|---|---|---|---|")
    for name, found in rows.items():
        median, worst = statistics.median(found) * 1000.0, max(found) * 1000.0
        print(f"| {name} | {median:.0f} | {worst:.0f} | {len(found)} |")
    if max(statistics.median(found) for found in rows.values()) >= WAITED_S:
        raise SystemExit("not as designed: a bear's message waited for another one")


if __name__ == "__main__":
    main()
