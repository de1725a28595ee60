"""What only programs can say. For the doctor alone: each may take seconds, and the alarm calls none of them."""

from __future__ import annotations

import os
import shutil

from edge.board.sensors import Throttling

WITHIN_S = 3.0
PLACES = ("/usr/sbin", "/sbin", "/usr/bin", "/opt/vc/bin")  # iw lies where a plain user's PATH does not lead


def asked_throttling(within_s: float = WITHIN_S) -> Throttling | None:
    """A Raspberry Pi's ``vcgencmd get_throttled``: power and heat now and since the start; None: no such program.

    The kernel's driver clears the history that it is given every 2 s; this program still tells of the whole time.
    """
    return Throttling.from_words(_answer(["vcgencmd", "get_throttled"], within_s), history=True)


def power_save(interface: str, within_s: float = WITHIN_S) -> bool | None:
    """Whether a WiFi interface sleeps between packets (``iw dev NAME get power_save``); None: nobody says."""
    words = (_answer(["iw", "dev", interface, "get", "power_save"], within_s) or "").lower()
    state = words.rpartition("power save:")[2].strip() if "power save:" in words else ""
    return {"on": True, "off": False}.get(state)


def _answer(command: list[str], within_s: float) -> str | None:
    """What the program prints; None where it is missing, fails, or does not answer in time."""
    import subprocess

    program = shutil.which(command[0], path=os.pathsep.join([os.environ.get("PATH", ""), *PLACES]))
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=within_s,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")
