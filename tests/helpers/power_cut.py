"""Cuts the power of a program after the fact: what it wrote is recorded, and a disk is made as it may look then.

``record`` runs a program under strace and keeps what it does to the files of one folder. ``Disk`` plays that back and
keeps apart what a sync has brought to the disk and what has not been: of the latter any part may be there, torn at
sectors of 512 bytes. Names (made, renamed, removed) are on the disk when their folder was
synced; before that some are, in their order or in none.
"""

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SECTOR = 512
CALLS = (
    "openat,close,dup,dup2,write,writev,pwrite64,pwritev,ftruncate,truncate,fallocate,fsync,fdatasync,unlink,unlinkat,"
    "rename,renameat,renameat2,mkdir,mkdirat,link,linkat,copy_file_range,sendfile"
)
LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (\d+)(?:<.*>)?$")
STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True)
class Act:
    """One thing a program did: a call, the file it was done to, and what it was given."""

    call: str  # open, close, write, size, sync, name, gone, folder, said
    what: object = None  # a path, or an open file's number
    more: tuple = ()


def record(program, folder):
    """Return what a program that does one thing at a time did to ``folder``, and said, in order. Needs strace."""
    trace = Path(folder).with_suffix(".strace")
    command = [
        "strace",
        "-f",
        "-xx",
        "-s",
        "10000000",
        "-e",
        f"trace={CALLS}",
        "-e",
        "signal=none",
        "-o",
        trace,
        *program,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    acts: list[Act] = []
    opened: dict[int, int] = {}  # numbers of open files of the folder -> where the next write goes
    begun: dict[str, str] = {}  # by thread: a call that another thread's end came between
    with trace.open() as lines:
        for line in map(str.rstrip, lines):
            thread = line.partition(" ")[0]
            if line.endswith("<unfinished ...>"):
                begun[thread] = line.removesuffix("<unfinished ...>")
                continue
            if " resumed>" in line:
                line = begun.pop(thread) + line.partition(" resumed>")[2]
            if match := LINE.match(line):
                found = understood(match[1], match[2], int(match[3]), str(folder), opened)
                assert not (found and begun), "two things at once"
                acts += found
    trace.unlink()
    return acts


def understood(call, given, result, folder, opened):
    """The acts a line of strace tells of, none where it does not touch the folder."""
    texts = [bytes.fromhex(text.replace("\\x", "")) for text in STRING.findall(given)]
    paths = [text.decode() for text in texts if text.startswith(folder.encode())]
    number = int(given.split(",")[0]) if given[:1].isdigit() else None
    last = given.rsplit(",", 1)[-1].strip()
    if call == "openat":
        opened.pop(result, None)
        if not paths:
            return []
        opened[result] = 0
        return [Act("open", result, (paths[0], "O_CREAT" in given, "O_TRUNC" in given))]
    if call == "write" and number == 1:
        return [Act("said", None, (texts[0].decode(),))]
    if call in ("rename", "renameat", "renameat2"):
        assert len(paths) in (0, 2)
        return [Act("name", paths[0], (paths[1],))] if paths else []
    if call in ("unlink", "unlinkat", "mkdir", "mkdirat"):
        return [Act("gone" if call.startswith("unlink") else "folder", path) for path in paths]
    if number not in opened:
        return []
    if call == "close":
        del opened[number]
        return [Act("close", number)]
    if call in ("fsync", "fdatasync"):
        return [Act("sync", number)]
    if call == "pwrite64":
        return [Act("write", number, (int(last), texts[0][:result]))]
    if call == "write":
        opened[number] += result
        return [Act("write", number, (opened[number] - result, texts[0][:result]))]
    if call == "ftruncate":
        return [Act("size", number, (int(last), False))]
    if call == "fallocate":
        return [Act("size", number, (int(given.split(",")[2]) + int(last), True))]
    raise AssertionError(f"{call} is not played back")


@dataclass(eq=False)
class File:
    """A file's bytes that are on the disk for sure, and what was done since."""

    sure: bytearray = field(default_factory=bytearray)
    since: list = field(default_factory=list)  # (where, bytes), or (size, only bigger)

    def sync(self):
        self.sure, self.since = self.bytes(lambda _: True), []

    def bytes(self, there):
        """The bytes as they are where ``there(act)`` of each act, and of each sector of a torn one, is true."""
        data = bytearray(self.sure)
        for where, more in self.since:
            if isinstance(more, bool):
                if there(None):
                    data = data[:where] if not more else data
                    data += bytes(max(where - len(data), 0))
                continue
            for begin, piece in sectors(where, more):
                if there(more):
                    data += bytes(max(begin + len(piece) - len(data), 0))
                    data[begin : begin + len(piece)] = piece
        return data


def sectors(where, data):
    """The parts of a write that lie in one sector each."""
    at = 0
    while at < len(data):
        upto = min(at + SECTOR - (where + at) % SECTOR, len(data))
        yield where + at, data[at:upto]
        at = upto


class Disk:
    """A folder on a disk whose power may go at any moment; it begins as ``folder`` lies there, all of it synced."""

    def __init__(self, folder):
        self.root = str(folder)
        self.names = {}  # path -> File, or None for a folder
        for path in sorted(Path(folder).rglob("*")) if Path(folder).exists() else []:
            self.names[str(path)] = None if path.is_dir() else File(bytearray(path.read_bytes()))
        self.sure = dict(self.names)
        self.since = []  # what happened to names and is not on the disk for sure: (path, File or None, gone)
        self.open = {}

    def play(self, act):
        """Do it."""
        if act.call == "open":
            path, create, empty = act.more
            file = self.names.get(path)
            if file is None and create:
                file = File()
                self._name(path, file)
            if file and empty and (file.sure or file.since):
                file.since.append((0, False))
            self.open[act.what] = file if file else path  # a path: a folder
        elif act.call == "close":
            del self.open[act.what]
        elif act.call in ("write", "size"):
            self.open[act.what].since.append(act.more)
        elif act.call == "sync":
            file = self.open[act.what]
            if isinstance(file, File):
                file.sync()
            else:
                for change in [each for each in self.since if file in _folders(each)]:
                    self.since.remove(change)
                    _apply(self.sure, change)
        elif act.call == "name":
            self._name(act.more[0], self.names[act.what], instead_of=act.what)
        elif act.call == "gone":
            self._name(None, None, instead_of=act.what)
        elif act.call == "folder":
            self._name(act.what, None)

    def _name(self, path, file, instead_of=None):
        change = (path, file, instead_of)
        self.since.append(change)
        _apply(self.names, change)

    def cut(self, random_, target):
        """Make ``target`` look as the folder may look when the power goes now."""
        names = dict(self.sure)
        mode = random_.choice(("nothing", "all", "some", "some", "some", "torn", "torn"))
        share = {"nothing": 0.0, "all": 1.0, "some": random_.random(), "torn": 0.5}[mode]
        for change in self.since[: round(share * len(self.since))] if mode != "torn" else self.since:
            if mode != "torn" or random_.random() < share:  # a simple file system keeps no order
                _apply(names, change)
        Path(target).mkdir(parents=True)
        for path, file in sorted(names.items(), key=lambda each: each[0]):
            place = Path(target) / Path(path).relative_to(self.root)
            if file is None:
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(file.bytes(_chance(random_, share, mode == "torn")))


def _folders(change):
    """The folders a change of names was made in."""
    return {str(Path(path).parent) for path in (change[0], change[2]) if path}


def _apply(names, change):
    path, file, instead_of = change
    names.pop(instead_of, None)
    if path is not None:
        names[path] = file


def _chance(random_, share, torn):
    """Return whether something unsynced is there: act by act, or sector by sector."""
    decided: dict[int, bool] = {}

    def there(more):
        if torn or more is None:
            return random_.random() < share
        return decided.setdefault(id(more), random_.random() < share)

    return there
