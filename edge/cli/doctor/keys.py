"""New models: where they come from, and the keys. Private ones never lie on a device, which somebody may take away."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from edge.cli.doctor.findings import CheckResult, Target, doubt, fine, split_todo
from edge.device.systemd import READ, denied
from edge.device.systemd_host import NAME, Host, ServiceError
from edge.errors import ModelError, OptionError
from edge.minisign import SECRET_LINE
from edge.model_store import FOLDER, ModelStore
from edge.update.sources import is_folder, shown

MAX_BYTES = 1 << 16  # of a file that is looked into: a key, or a config with one in it


def new_models(target: Target, *, look: bool) -> tuple[str, str]:
    """Return where new models come from, and what keeps them from being taken, "" for nothing: each a clause.

    ``look``: say which folders are not there now, for which a disk may be waited for.
    """
    sources, missing = target.settings.updates.sources, ""
    gone = [each for each in sources if look and is_folder(each) and not os.access(each, os.F_OK)]
    places = ", ".join(f"{shown(each)}{' (not there now)' if each in gone else ''}" for each in sources)
    try:
        if not ModelStore.of(target.state).read().keys:
            missing = "no key is trusted here, so none is taken; bear-alarm model trust KEY.pub"
    except (ModelError, OptionError) as error:
        missing = str(error)
    return f"from {places}", missing


def check_new_models(target: Target, host: Host | None = None) -> Iterator[CheckResult]:
    """Check that what the sources of new models have could be taken."""
    if not target.settings.updates.sources:
        return
    words, missing = new_models(target, look=True)
    if missing:
        what, todo = split_todo(missing, "look at the state folder")
        yield doubt("new models", f"{words}; {what}", todo)
    else:
        yield fine("new models", words)
    here = [Path(each) for each in target.settings.updates.sources if is_folder(each) and os.access(each, os.F_OK)]
    for folder, user in _closed(here, target, host or Host(root=target.root)):
        todo = "use a folder such as /media/bears that every user may read; for a stick umask=022 in its mount options"
        yield doubt("new models", f"{folder}: {user} may not read there", todo)


def _closed(folders: list[Path], target: Target, host: Host) -> list[tuple[Path, str]]:
    """Return the folders that the alarm may not read, and as which user it may not."""
    if not target.has_service or not host.is_root or host.find_account(NAME) is None:
        return [(each, "this user") for each in folders if not os.access(each, os.R_OK | os.X_OK)]
    hidden = [each for each in folders if any(map(each.is_relative_to, (*host.home, *host.private)))]
    with suppress(ServiceError):
        hidden += denied(host, [each for each in folders if each not in hidden], READ)
    return [(each, f"the service's user, {NAME},") for each in hidden]


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
