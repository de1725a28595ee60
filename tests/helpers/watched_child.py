"""A small alarm under a service manager, for the tests of the watchdog: the real pieces, with bounds of a second.

    python tests/helpers/watched_child.py HOW FOLDER

HOW: well, dead (its camera is away), start (slow), or what hangs: camera, model, main. Its exit code is what it was
told to do.
"""

import logging
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.device import watchdog as escalation
from edge.device.watchdog import REBOOT, RESTART, SLOW_START_S, Escalation, Notifier, Watchdog

ALIVE_S, INFERENCE_S, RESTART_AFTER_S = 2.0, 2.0, 1.0
escalation.STEADY_S = 1.0
escalation.DISK_S = 60.0  # a busy disk must not make it wait for RETRY_S


def hang(what):
    """As a driver does that does not come back."""
    print(f"{what} hangs", flush=True)
    threading.Event().wait()


def main(how, folder):
    logging.basicConfig(format="%(message)s")
    notifier = Notifier.from_environment()
    notifier.extend(SLOW_START_S)
    notifier.status("starting: reading the model")
    if how == "start":
        sys.stdin.readline()

    import numpy as np

    from edge.camera import Source
    from edge.camera.reconnect import ReconnectingSource
    from edge.device import health
    from edge.errors import SourceError
    from edge.schema import Frame, Score
    from edge.status import Status
    from tests.helpers.service_manager import camera

    class Film(Source):
        """A camera that is a list of pictures, shown for ever."""

        live, name, fps, closed = True, "yard", 20.0, False

        def __init__(self):
            self.problems = []

        def __iter__(self):
            index = 0
            while not self.closed:
                time.sleep(1.0 / self.fps)
                picture = np.full((24, 32, 3), index % 256, np.uint8)
                yield Frame(picture, time.monotonic(), datetime.now(UTC), "yard", index, time.monotonic())
                index += 1

        def close(self):
            self.closed = True

    class Model:
        """Answers a few times."""

        answers = 0

        def score(self, image, regions):
            self.answers += 1
            if how == "model" and self.answers > 3:
                hang("model")
            return [Score(region, (0.1, 0.9), 0.1, "brown_bear", -5.0) for region in regions]

    def open_():
        if how == "dead":
            raise SourceError("yard: no such camera; plug it in")
        return Film()

    model, told = Model(), []
    source = ReconnectingSource(open_, name="yard", report=lambda trouble, at: told.append(trouble))
    looked: list[float] = []

    def look():
        for frame in source:
            looked.append(frame.handed_over)
            if how == "camera" and len(looked) > 3:
                hang("camera")

    threading.Thread(target=look, name="watch yard", daemon=True).start()
    health.EVERY_S = 0.1
    pulse = health.ModelSelfTest(lambda: model)
    pulse.start()

    def state(now):
        frame_at = looked[-1] if looked else None
        trouble = told[-1].detail if told and told[-1] else None
        yard = camera(
            fresh=bool(looked), frame_age_s=None if frame_at is None else now - frame_at,
            alive_age_s=now - max(source.alive_at, frame_at or 0.0), frames=len(looked), trouble=trouble,
            reopened=source.reopened,
        )  # fmt: skip
        return Status("0.1.0", "made up", now, (yard,), crop_ms=1.0, inference_age_s=pulse.age_s(now))

    escalation.ALIVE_S, escalation.INFERENCE_S = ALIVE_S, INFERENCE_S
    watchdog = Watchdog(notifier)
    judge = Escalation(folder, RESTART_AFTER_S, True, present=notifier.present, forgetful=lambda _: False)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    notifier.ready("watching yard")
    code, ticks = 0, 0
    while not stop.wait(0.02):
        now, ticks = time.monotonic(), ticks + 1
        seen = state(now)
        watchdog(seen, now)
        if order := judge(seen, now):
            code = {"restart": RESTART, "reboot": REBOOT}[order]
            break
        if how == "main" and ticks > 50:
            hang("main")
    notifier.stopping()
    pulse.close()
    source.close()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
