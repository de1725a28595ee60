"""Make the line that installs a missing part into the running environment: pip, pipx or uv."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

PIPX = "pipx_metadata.json"  # which pipx leaves in each environment it makes


def pip(*words: str) -> str:
    """Return the command line that gives these words to this environment's pip, such as ``pip("install", "av")``."""
    environment = Path(sys.prefix)
    if (environment / PIPX).is_file():
        line = ["pipx", "runpip", environment.name, *words]
    elif find_spec("pip") is None and words[0] in ("install", "uninstall"):
        line = ["uv", "pip", words[0], "--python", sys.executable, *words[1:]]  # uv's environments have no pip
    else:
        line = [sys.executable, "-m", "pip", *words]
    return subprocess.list2cmdline(line) if sys.platform == "win32" else shlex.join(line)


def extra(*names: str) -> str:
    """Return the command line that installs one or more of our extras: "train", "gather", "notebook", "pi"."""
    *how, whence = origin()
    return pip("install", *how, f"{whence}[{','.join(names)}]")


def origin() -> list[str]:
    """Return what pip was given to install this package: its folder or wheel, while it is there, else its name."""
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    try:
        noted = json.loads(distribution("bear-alarm").read_text("direct_url.json") or "{}")  # PEP 610
    except (PackageNotFoundError, ValueError):
        noted = {}
    address = urlsplit(noted.get("url", ""))
    path = url2pathname(address.path)
    if address.scheme != "file" or not os.access(path, os.R_OK):  # also where a user may not look
        return ["bear-alarm"]
    return ["-e", path] if noted.get("dir_info", {}).get("editable") else [path]
