"""Where this bear-alarm lies, and whether a service may run it from there."""

from __future__ import annotations

import importlib.util
import json
import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

import edge
from edge.service import ENVIRONMENT, NAME, ServiceError
from edge.service.access import closed_by, unreadable
from edge.service.host import Host

NEEDS = "import cv2, numpy, onnxruntime, pydantic, sqlite3, ssl, typer, yaml, edge.watch"


@dataclass(frozen=True)
class Program:
    """How it is started, and what lies where."""

    command: tuple[str, ...]  # the first word is an absolute path
    python: Path  # the interpreter
    folders: tuple[Path, ...]  # the environment, the Python it was made of, the package

    @property
    def shown(self) -> str:
        """Its command, as somebody would type it."""
        return " ".join(f"'{word}'" if " " in word else word for word in self.command)


def this_program() -> Program:
    """The one that runs now."""
    python = Path(sys.executable)
    script = Path(sysconfig.get_path("scripts")) / NAME
    command = (str(script),) if script.is_file() else (str(python), "-m", "edge")
    folders = (Path(sys.prefix), Path(sys.base_prefix), Path(edge.__file__).parent)
    return Program(command, python, tuple(dict.fromkeys(folders)))


def check_program(host: Host, program: Program) -> None:
    """Raises ServiceError where the service's user cannot run it, with the place where it can. Only root may ask."""
    account = host.account
    for path in program.folders:
        if any(path.resolve().is_relative_to(each) for each in host.private):
            raise _elsewhere(f"{path} is in a folder for temporary files, of which a service has its own")
    if missed := unreadable(host, account, [Path(program.command[0]), program.python, *program.folders]):
        gate = closed_by(host, account, missed[0])
        raise _elsewhere(f"{missed[0]} cannot be read by the user {NAME}, for {gate} is closed to others")
    # The last word: packages may lie in somebody's home, or be his alone.
    done = host.run([str(program.python), "-c", NEEDS], account=account)
    if done.code:
        last = (done.err.strip().splitlines() or ["it ended without a word"])[-1]
        raise _elsewhere(f"{program.python} does not find all it needs when the user {NAME} starts it ({last})")


def _elsewhere(why: str) -> ServiceError:
    """The refusal, and the lines that put it where every user can read it."""
    return ServiceError(
        f"this bear-alarm cannot be a service where it lies: {why}; put one into {ENVIRONMENT}, where it can:\n"
        f"  sudo python3 -m venv {ENVIRONMENT}\n"
        f"  sudo {ENVIRONMENT}/bin/pip install {_origin()}\n"
        f"  sudo {ENVIRONMENT}/bin/{NAME} service install"
    )


def _origin() -> str:
    """What pip was given here, quoted: a folder or a wheel, with the extra for pins where this one has it."""
    try:
        told = distribution(NAME).read_text("direct_url.json")
    except PackageNotFoundError:
        told = None
    url = urlsplit(json.loads(told)["url"]) if told else None
    checkout = Path(edge.__file__).parent.parent
    if url and url.scheme == "file":
        place = unquote(url.path)
    elif (checkout / "pyproject.toml").is_file():
        place = str(checkout)
    else:
        place = url.geturl() if url else NAME
    return f"'{place}{'[pi]' if importlib.util.find_spec('gpiozero') else ''}'"
