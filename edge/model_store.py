"""The models that are installed on a device: the one in use, the one before it, and one that is being tried.

They lie in the folder ``models`` of the state folder, each named by its SHA-256, with its signature beside it. One
small file, ``installed.json``, says which is which, and is replaced in one step: a power cut leaves the list before or
the list after. A model is on the disk before a list names it, and is removed only when no list names it any more. No
clock is trusted: serials count up over all that was ever accepted here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from edge.errors import ModelError, OptionError
from edge.files import hand_over, make_own_folder, replace_whole, state_folder, to_disk, try_lock
from edge.minisign import ENDING

FOLDER = "models"  # in the state folder
LIST, LOCK, UPDATING = "installed.json", "lock", "updating"
PART = ".part"  # the end of a file that is not whole yet
SLOT = re.compile(r"[0-9a-f]{64}\.onnx")
HALF = re.compile(r"\.(installed\.json|trial\.json|[0-9a-f]{64}\.onnx\.minisig)\.\d+\.part")  # a power cut left it
WAIT_S = 10.0  # for another program that changes the list
MAX_STARTS = 3  # of an alarm with a new model that never ran well for long


@dataclass(frozen=True, slots=True)
class Entry:
    """One installed model. Where there is none, it is the model that ships."""

    sha256: str
    name: str  # card's name and short digest, as events carry it
    serial: int | None = None  # None: a person put it in without a signature
    key: str | None = None  # id of the key that signed it
    source: str = ""  # where it came from, without secrets
    tested: bool = False  # in shadow beside the one before, for long or until a person ended that


@dataclass(frozen=True, slots=True)
class Installed:
    """The list of what is installed, and of the keys that are trusted."""

    current: Entry | None = None  # None: the model that ships
    previous: Entry | None = None  # the one before
    waiting: Entry | None = None  # it is tried beside the current one
    serial: int = 0  # the highest of the models that were accepted
    key_serial: int = 0  # likewise of the keys
    keys: tuple[str, ...] = ()  # public keys, one line of base64 each; the newest last, two at most
    proven: bool = True  # the current one ran well for long
    starts: int = 0  # of alarms with the current one while it is not proven

    def used(self, entry: Entry | None) -> Installed:
        """Return the list with another current model, by a person's word; the one before is saved."""
        if self.current == entry or (self.current and entry and self.current.sha256 == entry.sha256):
            return replace(self, current=entry, waiting=None)
        return replace(self, current=entry, previous=self.current, waiting=None, proven=False, starts=0)

    def switched(self, *, tested: bool) -> Installed:
        """Return the list with the waiting model as the current one. There is one."""
        assert self.waiting
        return self.used(replace(self.waiting, tested=tested))

    def rolled_back(self) -> Installed:
        """Return the list without the waiting model, else with the model before. Raises ModelError without either."""
        if self.waiting:
            return replace(self, waiting=None)
        if self.current is None and self.previous is None:
            raise ModelError("there is no model before this one: the one that ships is the only one here")
        return replace(self, current=self.previous, previous=self.current, proven=False, starts=0)

    @property
    def entries(self) -> list[Entry]:
        """Return the models that are listed."""
        return [each for each in (self.current, self.previous, self.waiting) if each]


class ModelStore:
    """The folder of the installed models, and its list."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def of(state: Path | None = None) -> ModelStore:
        """Return the one in a state folder; None: where this user's lies. Raises OptionError without a home."""
        return ModelStore(state_folder(state) / FOLDER)

    def slot(self, entry: Entry) -> Path:
        """Return the place of a model's file."""
        return self.folder / f"{entry.sha256}.onnx"

    def is_whole(self, entry: Entry) -> bool:
        """Return True if a model's file is here as it was put in."""
        try:
            with self.slot(entry).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256
        except OSError:
            return False

    def read(self) -> Installed:
        """Return the list; an empty one where nothing was ever installed. Raises ModelError for one that is damaged."""
        try:
            return _parsed(json.loads((self.folder / LIST).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return Installed()
        except OSError as error:
            raise ModelError(
                f"{self.folder / LIST}: the list of installed models cannot be read ({error.strerror}); {_todo(error)}"
            ) from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ModelError(
                f"{self.folder / LIST}: the list of installed models is damaged; remove it, trust the key again "
                "with `bear-alarm model trust`, and update"
            ) from None

    def change(self, change: Callable[[Installed], Installed]) -> Installed:
        """Replace the list by what ``change`` makes of it, and remove what no list names any more; return it.

        Raises what ``change`` raises, ModelError and OptionError, with nothing changed.
        """
        with self._locked(LOCK, WAIT_S):
            return self._change(change)

    def put(
        self, part: Path, entry: Entry, signature: str | None, change: Callable[[Installed], Installed]
    ) -> Installed:
        """Bring a whole, checked file of this folder into its slot, its signature beside it, and ``change`` the list.

        Raises as ``change`` does.
        """
        slot = self.slot(entry)
        beside = slot.with_name(slot.name + ENDING)
        try:
            with part.open("r+b") as file:  # Windows syncs only what may be written
                os.fsync(file.fileno())  # before the lock: on a slow card it takes long
            with self._locked(LOCK, WAIT_S):
                wanted = change(self.read())  # first: what is refused leaves no file
                try:
                    hand_over(part)
                    part.replace(slot)
                    if signature is not None:
                        replace_whole(beside, signature.encode())
                        hand_over(beside)
                    self._to_disk()
                    return self._change(lambda _: wanted)
                except (OSError, OptionError):
                    self._remove_unnamed(self.read())
                    raise
        except OSError as error:
            raise OptionError(f"{slot}: cannot be written ({error.strerror}); {_todo(error)}") from None

    @contextmanager
    def updating(self) -> Iterator[None]:
        """Be the only update at work, and remove what one before left half done. Raises OptionError for another."""
        with self._locked(UPDATING, 0.0):
            for left in self.folder.glob(f"[!.]*{PART}"):  # the others are `replace_whole`'s, and may be in use
                left.unlink(missing_ok=True)
            yield

    def _change(self, change: Callable[[Installed], Installed]) -> Installed:
        before = self.read()
        after = change(before)
        if after != before:
            replace_whole(self.folder / LIST, json.dumps(asdict(after), indent=1).encode())
            hand_over(self.folder / LIST)
            self._to_disk()
        self._remove_unnamed(after)
        return after

    def _to_disk(self) -> None:
        with suppress(OSError):  # a disk that cannot do it keeps its own order
            to_disk(self.folder)

    def _remove_unnamed(self, installed: Installed) -> None:
        named = {f"{each.sha256}.onnx" for each in installed.entries}
        for path in self.folder.iterdir():
            slot = path.name.removesuffix(ENDING)
            if (SLOT.fullmatch(slot) and slot not in named) or HALF.fullmatch(path.name):
                with suppress(OSError):  # on Windows it may be in use; it goes at the next change
                    path.unlink(missing_ok=True)

    @contextmanager
    def _locked(self, name: str, wait_s: float) -> Iterator[None]:
        path = self.folder / name
        try:
            make_own_folder(self.folder)
            file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
            hand_over(path)
        except OSError as error:
            raise OptionError(f"{path}: no models can be installed there ({error.strerror}); {_todo(error)}") from None
        try:
            until = time.monotonic() + wait_s
            while not try_lock(file):
                if time.monotonic() >= until:
                    raise OptionError(f"{self.folder}: another program is changing the models; try again in a minute")
                time.sleep(0.05)
            yield
        finally:
            os.close(file)


def _todo(error: OSError) -> str:
    return "use sudo" if isinstance(error, PermissionError) else "check that disk"


def _parsed(held: Any) -> Installed:
    """Return the list that JSON holds. Raises ValueError, TypeError and KeyError."""
    return Installed(
        _entry(held["current"]),
        _entry(held["previous"]),
        _entry(held["waiting"]),
        serial=int(held["serial"]),
        key_serial=int(held["key_serial"]),
        keys=tuple(str(each) for each in held["keys"]),
        proven=bool(held["proven"]),
        starts=int(held["starts"]),
    )


def _entry(held: Any) -> Entry | None:
    if held is None:
        return None
    known = {each.name for each in fields(Entry)}
    entry = Entry(**{name: value for name, value in held.items() if name in known})
    if not SLOT.fullmatch(f"{entry.sha256}.onnx"):
        raise ValueError(entry.sha256)
    return entry
