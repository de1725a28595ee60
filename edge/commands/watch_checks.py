"""Options of ``bear-alarm watch`` that contradict each other: said, never silently resolved."""

from __future__ import annotations

from pathlib import Path

from edge.errors import OptionError


def check_together(*, fps: float, idle_fps: float | None, evidence: Path | None, no_evidence: bool) -> None:
    """Raises OptionError, one sentence, for options that cannot both be meant; rates are frames a second."""
    if idle_fps is not None and idle_fps > fps:
        raise OptionError(
            f"--idle-fps {idle_fps:g} is more than --fps {fps:g}, though it is for when nothing moves; give it less, "
            "or raise --fps"
        )
    if no_evidence and evidence is not None:
        raise OptionError(
            f"--no-evidence keeps no pictures, and --evidence {evidence} wants them there; give one of them"
        )
