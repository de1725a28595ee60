"""Kills updates of a device's model at random instants, and looks after each at what is left."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path

from edge.cli.app import run
from edge.detect.classifier import file_digest
from edge.model_store import LOCK, UPDATING, Installed, ModelStore
from edge.update.updates import begin
from tests.helpers.update_stage import Maker, check_device

# Processes that have imported all of it and loaded nothing: a start takes milliseconds.
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload([__name__, *(f"edge.{each}" for each in ("cli.model", "config.load", "update.install"))])
# How often each: most of the time the model in use is one that came signed.
ACTS = {
    "update": 4.0,
    "update --now": 4.0,
    "switch": 4.0,
    "start": 2.0,
    "rollback": 1.5,
    "next key": 1.0,
    "model and next key": 1.0,
    "use --bundled": 0.5,
    "use FILE": 0.3,
}
AT_A_WRITE = 0.7  # of the kills; the others at any time from the start on
AFTER_S = 0.004  # at most, from a write on: what is between two writes takes less


@dataclass
class Count:
    """Count of kills and what came of them, by act."""

    kills: Counter[str] = field(default_factory=Counter)
    before: Counter[str] = field(default_factory=Counter)  # the first write
    within: Counter[str] = field(default_factory=Counter)  # something is written, and the list is as before
    after: Counter[str] = field(default_factory=Counter)  # the list is the new one
    ended: Counter[str] = field(default_factory=Counter)  # by itself, before the kill; not a kill
    models: Counter[str] = field(default_factory=Counter)  # in use after a kill: signed, by hand, ships


def act(words: list[str], state: Path, written: Connection) -> None:
    """Do one act in a process of its own, and report each write in the state folder just before it."""
    sys.addaudithook(lambda event, given: written.send_bytes(b".") if writes(event, given, str(state)) else None)
    said = os.open(state.with_suffix(".said"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    if words == ["switch"]:
        ModelStore.of(state).change(lambda held: held.switched(tested=True))
    elif words == ["start"]:
        begin(ModelStore.of(state), counts=True)
    else:
        run(["model", *words, "--state", str(state)])


def writes(event: str, given: tuple[object, ...], folder: str) -> bool:
    """Return True for an audit event that makes, renames or removes a file of a folder, or opens one to write."""
    if not given or not isinstance(given[0], str | os.PathLike) or not os.fspath(given[0]).startswith(f"{folder}/"):
        return False
    if event == "open":
        return isinstance(given[2], int) and bool(given[2] & (os.O_WRONLY | os.O_RDWR))
    return event in ("os.rename", "os.remove", "os.mkdir")


def may(name: str, listed: Installed) -> bool:
    """Return whether an act changes something here."""
    match name:
        case "switch":
            return listed.waiting is not None
        case "rollback":
            return bool(listed.entries)
        case "use --bundled":
            return listed.current is not None
        case "start":  # of an alarm, with a model that is not proven yet
            return not listed.proven
        case "use FILE":
            return listed.current is None or listed.current.key is not None
    return True


class Killer:
    """One device, one maker, and updates that are killed."""

    def __init__(self, folder: Path, maker: Maker, seed: int) -> None:
        self.state, self.maker, self.count = folder / "state", maker, Count()
        self.keys = [maker.key.public]
        self.by_hand = folder / "by-hand.onnx"
        self.by_hand.write_bytes(maker.make(0))
        self.random = random.Random(seed)
        self.usual: dict[str, tuple[int, float]] = {}  # of each act: its writes, and its seconds
        (folder / "k.pub").write_text(maker.key.public.text)
        self._whole(["trust", str(folder / "k.pub")])
        for name in (
            "update --now", "start", "update", "switch", "update", "rollback", "use --bundled", "use FILE", "next key",
            "model and next key",
        ):  # fmt: skip
            words, _ = self._prepared(name, self._listed())
            self.usual[name] = self._whole(words)
            self._learn_key(self._listed())

    def kill(self, kills: int) -> Count:
        """Kill so many acts, each chosen at random, look at the device after each, and return what came of it."""
        while self.count.kills.total() < kills:
            before = self._listed()
            name = self.random.choices(list(ACTS), list(ACTS.values()))[0]
            if not may(name, before):
                continue
            words, wanted = self._prepared(name, before)
            files = self._files()
            killed = self._killed(words, *self.usual[name])
            after = check_device(self.state, self.keys)
            assert after == before or wanted(after), f"{name}: {before} became {after}"
            if name == "model and next key":  # once more: where only the key came, the model still has to
                self._whole(words)
                again = check_device(self.state, self.keys)
                assert wanted(again), f"{name}: {after} became {again}"
                assert again.current != before.current, f"{name}: {after} kept the model out"
            self._learn_key(after)
            if not killed:
                assert after != before, f"{name} ended and changed nothing"
                self.count.ended[name] += 1
                continue
            self.count.kills[name] += 1
            where = "after" if after != before else "before" if self._files() == files else "within"
            getattr(self.count, where)[name] += 1
            self.count.models[self._look_at_current(after)] += 1
        self._whole(self._prepared("update --now", self._listed())[0])
        left = {path.name for path in (self.state / "models").iterdir()}
        entries = check_device(self.state, self.keys).entries
        assert len(left) <= 2 * len(entries) + 3, f"what is half done was never removed: {sorted(left)}"
        return self.count

    def _prepared(self, name: str, before: Installed) -> tuple[list[str], Callable[[Installed], bool]]:
        """Return the words of an act, and what holds of the list once it is done."""
        stick = str(self.maker.stick)
        if name == "next key":
            signer, self.coming = self.maker.key.public, self.maker.next_key()
            lines = (signer.line, self.coming.public.line)
            return ["update", stick], lambda after: after.keys == lines and after.current == before.current
        if name == "model and next key":
            signer, self.coming = self.maker.key.public, self.maker.model_and_next_key()
            lines = (signer.line, self.coming.public.line)
            sha256 = file_digest(self.maker.stick / "bear.onnx")
            return (
                ["update", stick, "--now"],
                lambda after: (
                    after.keys == lines
                    and (
                        after.current == before.current
                        or (after.current is not None and after.current.sha256 == sha256)
                    )
                ),
            )
        if name.startswith("update"):
            sha256 = self.maker.model()
            if name == "update":
                return (
                    ["update", stick],
                    lambda after: (
                        after.current == before.current and after.waiting is not None and after.waiting.sha256 == sha256
                    ),
                )
            return [
                "update",
                stick,
                "--now",
            ], lambda after: after.current is not None and after.current.sha256 == sha256
        if name == "switch":
            waited = before.waiting
            return [
                "switch"
            ], lambda after: waited is not None and after.current is not None and after.current.sha256 == waited.sha256
        if name == "start":
            return [
                "start"
            ], lambda after: after.starts == before.starts + 1 or after == replace(before, waiting=None).rolled_back()
        if name == "rollback":
            return ["rollback"], lambda after: after == before.rolled_back()
        if name == "use --bundled":
            return ["use", "--bundled"], lambda after: after.current is None
        return ["use", str(self.by_hand)], lambda after: after.current is not None and after.current.key is None

    def _killed(self, words: list[str], writes: int, seconds: float) -> bool:
        """Start an act and kill it; return False where it had ended by itself."""
        process, written = self._started(words)
        if self.random.random() < AT_A_WRITE:
            try:
                for _ in range(self.random.randint(1, writes)):
                    written.recv_bytes()
            except EOFError:
                pass
            time.sleep(self.random.choice((0.0, self.random.uniform(0, AFTER_S))))
        else:
            time.sleep(self.random.uniform(0, 1.1 * seconds))
        process.kill()
        process.join()
        written.close()
        assert process.exitcode in (0, -signal.SIGKILL), self._said(words)
        return process.exitcode != 0

    def _whole(self, words: list[str]) -> tuple[int, float]:
        """Do an act to its end; return how many writes it made, and how long it took."""
        began, count = time.monotonic(), 0
        process, written = self._started(words)
        try:
            while True:
                written.recv_bytes()
                count += 1
        except EOFError:
            process.join()
        assert process.exitcode == 0, self._said(words)
        return count, time.monotonic() - began

    def _started(self, words: list[str]) -> tuple[multiprocessing.process.BaseProcess, Connection]:
        reading, writing = FORKED.Pipe(duplex=False)
        process = FORKED.Process(target=act, args=(words, self.state, writing))
        process.start()
        writing.close()
        return process, reading

    def _said(self, words: list[str]) -> str:
        return f"{words}: {self.state.with_suffix('.said').read_text()}"

    def _listed(self) -> Installed:
        return ModelStore.of(self.state).read()

    def _learn_key(self, listed: Installed) -> None:
        """Sign with the next key from now on where the device trusts it."""
        coming = getattr(self, "coming", None)
        if coming and coming.public.line in listed.keys:
            self.maker.key = coming
            self.keys.append(coming.public)

    def _files(self) -> dict[str, tuple[int, int, int]]:
        """Return the files of the store, and when each was last written."""
        found = {}
        for path in (self.state / "models").iterdir():
            if path.name not in (LOCK, UPDATING):
                status = path.stat()
                found[path.name] = (status.st_ino, status.st_size, status.st_mtime_ns)
        return found

    def _look_at_current(self, listed: Installed) -> str:
        """Return whose word the model in use has; a stock minisign verifies one that is signed, where there is one."""
        if listed.current is None:
            return "ships"
        if listed.current.key is None:
            return "by hand"
        if program := shutil.which("minisign"):
            key = next(each for each in self.keys if each.name == listed.current.key)
            slot = ModelStore.of(self.state).slot(listed.current)
            subprocess.run([program, "-V", "-Q", "-P", key.line, "-m", slot], check=True, stdout=subprocess.DEVNULL)
        return "signed"
