"""Set how torch's threads wait. Do it before torch is imported: the thread library reads it then."""

from __future__ import annotations

import os


def wait_asleep() -> None:
    """Let waiting threads sleep, unless the environment says otherwise (OpenMP's ``OMP_WAIT_POLICY``).

    By default they spin. On an idle machine that is worth a twentieth; where two threads shared two cores with
    other work, it made a training four times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
