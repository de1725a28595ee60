"""The alarm on Arm64 without an Arm board: the real command in an emulated processor, beside itself natively.

    python tests/proofs/prove_arm64.py [--cache FOLDER] [--cpu cortex-a72 …]

QEMU runs a minimal arm64 Debian's own Python with the aarch64 wheels of the base dependencies. A cut of the demo goes
in, the alarm comes out; journal, evidence, golden vectors and `doctor` are looked at. Needs qemu-user, apt and pip, and
a network the first time (about 130 MB). Without them it says so and ends with 0, unless BEAR_ALARM_REQUIRE names arm64
or says all.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2

sys.path.insert(0, str(Path(__file__).parents[2]))

import edge.demo
from edge.schema import Event
from tests.helpers import arm64
from tests.helpers.command import _clean_environment

VERSIONS = "3.11", "3.13"  # of Raspberry Pi OS Bookworm and Trixie
CPUS = "cortex-a72", "cortex-a76"  # of a Raspberry Pi 4 and 5
FROM, TO = 130, 150  # frames of the demo: the bear walks in at 137
LIMIT_S = 1200
EMULATED = {"speed"}  # what `doctor` doubts because of the emulation
# The command, but the end waits for the clip as long as it takes: emulated, encoding takes longer than the usual 35 s.
COMMAND = """
import edge.cli.watch.command as command
from edge.cli.main import main
command.DRAIN_S = 600.0
main()
"""
ABOUT = """
import ctypes, platform, sys, onnxruntime
dot = ctypes.CDLL(None).getauxval(16) >> 20 & 1 if platform.machine() == "aarch64" else None
words = {None: "", 0: ", no dot product", 1: ", dot product"}[dot]
print(f"{platform.machine()}{words}, Python {platform.python_version()}, onnxruntime {onnxruntime.__version__}")
"""
PROVEN = (
    ("every base dependency has an aarch64 wheel for both Pythons",
     "that these wheels work with the Python that was not run: only Debian's own was"),
    ("the command, the model in int8, motion, journal, evidence and `doctor` work on Arm64",
     "speed, latency, heat and current: a board must be measured itself"),
    ("the alarm falls at the same time as on this machine",
     "how well bears are found: this is one clip (docs/model-card.md)"),
    ("int8 is right both without and with the dot-product instructions",
     "real cameras, pins, sound, SD cards, systemd and the kernel of a board"),
)  # fmt: skip


@dataclass
class Outcome:
    """Results of the command on one processor."""

    about: str
    alarms: list[Event]
    kept: set[tuple[str, int]]  # event ids and sequence numbers in the journal
    printed: set[tuple[str, int]]  # the same, of the lines that were printed
    evidence: list[str]  # files of the alarm
    clip_frames: int
    doctor: int  # its exit code
    findings: dict[str, dict[str, Any]]

    @property
    def doubted(self) -> set[str]:
        """The names of what `doctor` finds in doubt or broken."""
        return {name for name, each in self.findings.items() if each["state"] in ("doubt", "broken")}


def cut(path: Path) -> None:
    """Write the frames of the demo in which the bear walks in, as H.264."""
    with av.open(str(Path(edge.demo.__file__).with_name("demo.mp4"))) as source, av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=10, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for index, frame in enumerate(source.decode(video=0)):
            if FROM <= index < TO:
                frame.pts, frame.time_base = index - FROM, Fraction(1, 10)
                out.mux(stream.encode(frame))
        out.mux(stream.encode())


def outcome(python: Path, clip: Path, folder: Path) -> Outcome:
    """Run the command on a clip, then `doctor`."""

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        env = _clean_environment() | {"PYTHONPATH": str(arm64.ROOT), "XDG_STATE_HOME": str(folder)}
        return subprocess.run(
            [str(python), *words], cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )

    state, evidence = folder / "state", folder / "evidence"
    said = ["--state", str(state), "--evidence", str(evidence), "--events", str(folder / "events.jsonl")]
    watched = run("-c", COMMAND, "watch", str(clip), *said)
    assert watched.returncode == 0, watched.stderr
    events = [Event.from_json(line) for line in (folder / "events.jsonl").read_text("utf-8").splitlines()]
    with closing(sqlite3.connect(state / "journal.db")) as db:
        kept = set(db.execute("SELECT event_id, seq FROM events"))
    clips = list(evidence.rglob("clip.mp4"))
    assert len(clips) == 1, f"{len(clips)} clips: {watched.stderr}"
    with av.open(str(clips[0])) as video:
        frames = sum(1 for _ in video.decode(video=0))
    assert cv2.imread(str(clips[0].with_name("alarm.jpg"))) is not None
    checked = run("-m", "edge", "doctor", "--no-camera", "--state", str(state), "--json")
    assert checked.stdout, checked.stderr
    return Outcome(
        run("-c", ABOUT).stdout.strip(),
        [event for event in events if event.kind == "bear" and event.type == "new"],
        kept,
        {(event.id, event.seq) for event in events},
        sorted(path.name for path in clips[0].parent.iterdir()),
        frames,
        checked.returncode,
        {each["name"]: each for each in json.loads(checked.stdout)["findings"]},
    )


def main() -> int:
    """Print tables, in Markdown."""
    given = argparse.ArgumentParser()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    given.add_argument("--cache", type=Path, default=home / "bear-alarm-arm64", help="where what is fetched is kept")
    given.add_argument("--cpu", nargs="+", default=CPUS, help=f"processors to emulate (default: {' '.join(CPUS)})")
    asked = given.parse_args()
    cache, cpus = asked.cache.absolute(), list(asked.cpu)
    try:
        own = arm64.debian_python(arm64.debian(cache))
        found = {version: arm64.wheels(cache, version, install=version == own) for version in {*VERSIONS, own}}
    except arm64.MissingError as error:
        print(f"Arm64 could not be tried: {error}.")
        return int(bool({"arm64", "all"} & set(os.environ.get("BEAR_ALARM_REQUIRE", "").replace(",", " ").split())))
    print("| aarch64 wheels of the base dependencies | of these with machine code | newest glibc |\n|---|---|---|")
    for version, (names, _) in sorted(found.items()):
        binary = [name for name in names if not name.endswith("-any.whl")]
        print(f"| Python {version}: {len(names)} | {len(binary)} | {arm64.newest_glibc(binary)} |")
    with tempfile.TemporaryDirectory() as scratch:
        clip = Path(scratch) / "bear.mp4"
        cut(clip)
        pythons = {cpu: arm64.python(cache, cpu, found[own][1]) for cpu in cpus}
        tried = {"natively": Path(sys.executable)} | pythons
        for name in tried:
            (Path(scratch) / name).mkdir()
        with ThreadPoolExecutor(2) as pool:
            done = pool.map(lambda name: outcome(tried[name], clip, Path(scratch) / name), tried)
            outcomes = dict(zip(tried, done, strict=True))
    native = outcomes["natively"]
    rows = {
        "": lambda one: one.about,
        "alarms, s into the clip": lambda one: ", ".join(str(alarm.media_time_s) for alarm in one.alarms),
        "its score": lambda one: ", ".join(f"{alarm.score:.4f}" for alarm in one.alarms),
        "golden vectors": lambda one: one.findings["golden vectors"]["words"],
        "events in the journal, of those printed": lambda one: f"{len(one.kept & one.printed)} of {len(one.printed)}",
        "evidence": lambda one: f"{', '.join(one.evidence)} ({one.clip_frames} frames)",
        "`doctor`: exit code; in doubt": lambda one: f"{one.doctor}; {', '.join(sorted(one.doubted)) or 'nothing'}",
    }
    print(f"\n| {TO - FROM} frames of the demo, H.264 | {' | '.join(outcomes)} |\n|---|{'---|' * len(outcomes)}")
    for name, cell in rows.items():
        print(f"| {name} | {' | '.join(cell(one) for one in outcomes.values())} |")
    for name, one in outcomes.items():
        at = [alarm.media_time_s for alarm in one.alarms]
        assert len(at) == 1, f"{name}: alarms at {at} s"
        assert at == [alarm.media_time_s for alarm in native.alarms], f"{name}: an alarm at {at[0]} s"
        assert one.printed == one.kept, f"{name}: events printed and events in the journal differ"
        assert (one.evidence, one.clip_frames) == (native.evidence, native.clip_frames), f"{name}: other evidence"
        assert one.findings["golden vectors"]["state"] == "fine", one.findings["golden vectors"]
        assert one.doctor == 0, f"{name}: {one.findings}"
        assert one.doubted <= native.doubted | EMULATED, f"{name}: doctor doubts {one.doubted - native.doubted}"
    print("\n| what this proves | what it does not |\n|---|---|")
    for proven, not_proven in PROVEN:
        print(f"| {proven} | {not_proven} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
