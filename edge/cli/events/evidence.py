"""Write events and their evidence into a zip to hand on."""

from __future__ import annotations

import contextlib
import logging
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.output import check_new_file, counted
from edge.errors import OptionError
from edge.record.event_zip import zip_events

if TYPE_CHECKING:
    from edge.cli.camtrap_options import Camtrap
    from edge.record.history import PastEvent

log = logging.getLogger(__name__)


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


def write_camtrap_dp(incidents: Sequence[PastEvent], state: Path, package: Camtrap) -> None:
    """Write the bears among these events as a Camtrap DP package, and log the counts. Raises OptionError for none."""
    from edge.batch.event_package import write_events

    bears = [each for each in incidents if each.first.event.kind == "bear"]
    if not bears:
        raise OptionError("none of these events is a bear, and a Camtrap DP package is of animals; choose others")
    made = write_events(package.folder, bears, state, package.deployments, package.about, force=package.force)
    events, files = counted(made.events, "event"), counted(made.files, "file")
    log.info("%s: %s with %s, %s with bears.", package.folder, events, files, f"{made.bears:,}")
