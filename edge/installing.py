"""Make the line that installs a missing part into the running environment: pip, pipx or uv."""

from __future__ import annotations

import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

PIPX = "pipx_metadata.json"  # which pipx leaves in each environment it makes


def pip(*words: str) -> str:
    """The command line that gives these words to this environment's pip, such as ``pip("install", "av")``."""
    environment = Path(sys.prefix)
    if (environment / PIPX).is_file():
        line = ["pipx", "runpip", environment.name, *words]
    elif find_spec("pip") is None and words[0] in ("install", "uninstall"):
        line = ["uv", "pip", words[0], "--python", sys.executable, *words[1:]]  # uv's environments have no pip
    else:
        line = [sys.executable, "-m", "pip", *words]
    return subprocess.list2cmdline(line) if sys.platform == "win32" else shlex.join(line)


def extra(*names: str) -> str:
    """The command line that installs one or more of our extras: "train", "gather", "notebook", "pi"."""
    return pip("install", f"bear-alarm[{','.join(names)}]")
