"""Write events and their evidence into a zip to hand on."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.output import check_new_file
from edge.errors import OptionError
from edge.record.event_zip import zip_events

if TYPE_CHECKING:
    from edge.record.history import PastEvent


def write_zip(incidents: Sequence[PastEvent], state: Path, out: Path, *, force: bool) -> tuple[int, int]:
    """Write a zip of events and evidence, whole or not at all; return how many files it has and how many are gone.

    Raises OptionError, also where ``out`` is there and ``force`` is not.
    """
    check_new_file(out, "events.zip", option="--out", force=force)
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    counts = Counter[str]()
    try:
        with beside.open("wb") as file:
            file.writelines(zip_events(incidents, state, counts))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(out)
    except OSError as error:
        raise OptionError(f"--out {out}: cannot be written ({error.strerror or error})") from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    return counts["there"], counts["gone"]
