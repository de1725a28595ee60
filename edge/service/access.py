"""What another user may read and write: the kernel is asked as that user, for modes alone do not tell (ACLs)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge.service import ServiceError
from edge.service.host import Account, Host

# Each path that is not there or may not be used as asked: its number.
ASK = 'n=0; for path; do {} || echo "$n"; n=$((n+1)); done'
READ = ASK.format('{ test -r "$path" && { test ! -d "$path" || test -x "$path"; }; }')
WRITE = ASK.format('{ test -w "$path" && test -x "$path"; }')
ENTER = ASK.format('test -x "$path"')


def _denied(host: Host, account: Account, paths: Sequence[Path], ask: str) -> list[Path]:
    done = host.run(["/bin/sh", "-c", ask, "sh", *map(str, paths)], account=account)
    if done.code:
        raise ServiceError(f"what other users may read cannot be asked here: {' '.join(done.err.split())}")
    return [paths[int(number)] for number in done.out.split()]


def unreadable(host: Host, account: Account, paths: Sequence[Path]) -> list[Path]:
    """Those this user cannot read: files, and folders with what is in them. Only root may ask. Raises ServiceError."""
    return _denied(host, account, paths, READ) if paths else []


def unwritable(host: Host, account: Account, folders: Sequence[Path]) -> list[Path]:
    """Those folders this user cannot write into, or that are missing. Only root may ask. Raises ServiceError."""
    return _denied(host, account, folders, WRITE) if folders else []


def closed_by(host: Host, account: Account, path: Path) -> Path:
    """What keeps this user from a path: the first folder on the way that it may not enter, else the path itself."""
    for way in (path.absolute(), path.resolve()):  # a link's own folder, then its target's
        folders = list(reversed(way.parents))
        if closed := _denied(host, account, folders, ENTER):
            return closed[0]
    return path.resolve()
