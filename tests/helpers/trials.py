"""A trial in step with its camera."""

import time

from edge.update.trial import Trial

LONG_S = 60.0  # on a machine that has much else to do


def in_step(trial: Trial) -> None:
    """Wait until the new model has looked at all frames so far, or cannot."""
    until = time.monotonic() + LONG_S
    while (trial._busy_since is not None or any(trial._waiting)) and not trial.problem():
        assert time.monotonic() < until
        time.sleep(0.0002)
