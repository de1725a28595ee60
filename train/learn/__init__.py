"""Learn: from a table of pictures to a trained run."""

from __future__ import annotations

import os


def wait_asleep() -> None:
    """Let torch's waiting threads sleep, unless the environment sets another policy (OpenMP's ``OMP_WAIT_POLICY``).

    Call it before torch is imported: the thread library reads it then. By default threads spin, which saves a twentieth
    on an idle machine. With two threads on two cores shared with other work, it made a training four times slower.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
