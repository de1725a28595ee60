"""In a child process of ``edge.cli.doctor.child``: says what it was asked and how it was called."""

import os
import sys
import time
from pathlib import Path


def main(asks):
    """Echo, raise, or write down its number and hang."""
    if "raise" in asks:
        raise RuntimeError(asks["raise"])
    if "hang" in asks:
        part = Path(f"{asks['hang']}.part")
        part.write_text(str(os.getpid()))
        part.rename(asks["hang"])
        time.sleep(600.0)
    command = Path("/proc/self/cmdline")
    return {"echo": asks["echo"], "command": command.read_text() if command.exists() else " ".join(sys.argv)}
