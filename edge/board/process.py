"""What this process itself takes."""

from __future__ import annotations

import sys
from pathlib import Path

from edge.board.sysfs import pairs, whole


def peak_memory_mb(root: Path = Path("/")) -> float | None:
    """The most memory it has held, MB (10^6 bytes); None where the system does not say."""
    # Unlike getrusage's, this does not begin with what the parent had.
    peak = whole(pairs(root / "proc/self/status").get("VmHWM", "").removesuffix("kB").strip() or None)
    if peak is not None:
        return peak * 1024 / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
