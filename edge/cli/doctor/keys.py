"""Private keys that sign models: they never lie on a device, which somebody may take away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from edge.cli.doctor.findings import CheckResult, Target, doubt
from edge.errors import OptionError
from edge.minisign import SECRET_LINE
from edge.model_store import FOLDER

MAX_BYTES = 1 << 16  # of a file that is looked into: a key, or a config with one in it


def check_private_keys(target: Target) -> Iterator[CheckResult]:
    """Look for private keys where people put them, on a machine that has a config or the service."""
    if target.config is None and not target.has_service:
        return
    for folder in dict.fromkeys(_folders(target)):
        for path in _with_key(folder):
            words = f"{path} holds a private key that signs models: who takes the device away has it"
            todo = "move it to your own computer; if the device was out of your sight, make a new key and trust that"
            yield doubt("private keys", words, todo)


def _folders(target: Target) -> Iterator[Path]:
    with suppress(OptionError):  # another check says that there is no state folder
        yield target.state
        yield target.state / FOLDER
    if target.config:
        yield target.config.absolute().parent
    homes = list((target.root / "home").glob("*"))
    with suppress(RuntimeError):  # a user without a home
        homes.append(Path.home())
    for home in homes:
        yield home
        yield home / ".minisign"
    for source in target.settings.updates.sources:
        yield Path(source)  # an address is passed over, as a folder that is not there


def _with_key(folder: Path) -> Iterator[Path]:
    with suppress(OSError):  # not there, or closed to this user
        for path in sorted(folder.iterdir()):
            with suppress(OSError):
                if (
                    path.is_file()
                    and path.stat().st_size <= MAX_BYTES
                    and SECRET_LINE.search(path.read_text(encoding="utf-8", errors="replace"))
                ):
                    yield path
