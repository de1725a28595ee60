"""In a child process of ``edge.doctor.child``: says what it was asked and how it was called."""

import sys
from pathlib import Path


def main(asks):
    """Echo, or raise."""
    if "raise" in asks:
        raise RuntimeError(asks["raise"])
    command = Path("/proc/self/cmdline")
    return {"echo": asks["echo"], "command": command.read_text() if command.exists() else " ".join(sys.argv)}
