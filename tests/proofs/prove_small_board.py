"""The alarm on a small board, simulated: one core, 512 MB, and a disk that takes 200 ms to keep anything.

    python tests/proofs/prove_small_board.py [--kills 30]

`bear-alarm watch` looks at a live camera with journal, evidence, trace and a webhook, on a quick disk and on a slow
one by turns; a bear comes, and its clip is written. Read from it: a siren does not wait for a slow memory card, no
frame is looked at later for it, and what the alarm has acknowledged survives kill -9. A message over the network does
wait: the event goes to the disk first, so that it cannot be lost. The core is one of this machine's: a board's own
speed is not shown.

The memory is bounded by RLIMIT_DATA, for each process: all that it may write to, touched or not, which is over three
times what it has in use (with one camera 406 of 118 MB), so the bound is a strict one. Files mapped into it (libraries)
are not counted, so the peak in use by all processes together is shown too, what they share counted in each of them.
strace delays each fsync and fdatasync, and no other call.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.schema import Event, Picture
from tests.helpers import stage
from tests.helpers.command import _clean_environment
from tests.helpers.fake_camera import LiveYard, soon
from tests.helpers.killing import Count, look
from tests.helpers.webhook_server import PostBox, Posted

ROOT = Path(__file__).parents[2]
MEGABYTES, DELAY_MS = 512, 200
ROUNDS, KILLED_ROUNDS = 5, 3
QUIET_S = 5.0  # before the bear comes
KILLS = """
import json, sys
from pathlib import Path
from tests.helpers.killing import kill_at_random
count = kill_at_random(Path(sys.argv[1]), int(sys.argv[2]), seed=5)
given = {id_ for id_, _, _ in count.delivered}
lost, silent = count.acknowledged - count.written, count.acknowledged - given
print(json.dumps([len(count.acknowledged), len(lost), len(silent), sorted(count.checks)]))
"""


class Clearing(LiveYard):
    """A camera before a clearing, with a real cut-out of a bear."""

    def __init__(self) -> None:
        self.scenes = [stage.place().copy() for _ in range(2)]
        stage.animal("european-bear", (0.0,), (640.0,), 240.0).draw(self.scenes[True], 0.0)
        super().__init__()

    def picture(self, number: int) -> Picture:
        scene = self.scenes[self.bear].copy()
        scene[:8, :8] = number % 256
        return scene

    def bear_comes(self) -> None:
        """Let the alarm see the empty clearing for a while, then the bear."""
        assert soon(lambda: self.came), "nobody looks"
        time.sleep(QUIET_S)
        self.bear = True


class Timed(list[Posted]):
    """Bodies that were posted, with their times (UNIX time, seconds)."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[str, float] = {}

    def append(self, posted: Posted) -> None:
        event = event_of(posted)
        if event and event.type == "new":
            self.at.setdefault(event.id, time.time())
        super().append(posted)


@dataclass
class Found:
    """Figures of one disk, in all rounds."""

    latency_ms: list[float] = field(default_factory=list)  # frame handed over -> the siren's command called
    posted_ms: list[float] = field(default_factory=list)  # frame captured -> webhook received
    frame_ms: list[float] = field(default_factory=list)  # the longest that a frame took around an alarm
    gap_ms: list[float] = field(default_factory=list)  # the longest from one frame's capture to the next one's
    peak_mb: float = 0.0
    syncs: int = 0


def board(calls: Path, *, slow: bool) -> list[str]:
    """Return the beginning of a command that is to run on the small board; ``calls``: where its fsyncs are listed."""
    core = max(os.sched_getaffinity(0))
    words = ["taskset", "-c", str(core), "prlimit", f"--data={MEGABYTES << 20}"]
    words += ["strace", "-f", "-qq", "--seccomp-bpf", "-o", str(calls), "-e", "trace=fsync,fdatasync"]
    return words + (["-e", f"inject=fsync,fdatasync:delay_enter={DELAY_MS * 1000}"] if slow else [])


@contextmanager
def watching(folder: Path, url: str, webhook: int, *, slow: bool) -> Iterator[psutil.Process]:
    """Run `bear-alarm watch` on the small board; gives its own process. It is ended with SIGTERM."""
    words = ["watch", url, "--state", str(folder / "state"), "--evidence", str(folder / "evidence"), "--no-bell"]
    words += ["--events", str(folder / "events.jsonl"), "--trace", str(folder / "trace.jsonl"), "--idle-fps", "10"]
    words += ["--webhook", f"http://127.0.0.1:{webhook}", "--on-alarm", "cat >> siren"]
    env = _clean_environment() | {"PYTHONPATH": str(ROOT)}
    command = [*board(folder / "calls", slow=slow), sys.executable, "-m", "edge", *words]
    with (folder / "said").open("a") as said, subprocess.Popen(command, cwd=folder, env=env, stderr=said) as strace:
        assert soon(lambda: psutil.Process(strace.pid).children()), (folder / "said").read_text()
        alarm = psutil.Process(strace.pid).children()[0]
        try:
            yield alarm
            with suppress(psutil.NoSuchProcess):
                alarm.terminate()
            strace.wait(60)
        finally:  # without its tracer the alarm would go on
            with suppress(psutil.NoSuchProcess):
                alarm.kill()


def memory_mb(alarm: psutil.Process) -> float:
    """Return what the alarm and its children have in use, MB."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        for process in (alarm, *alarm.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return total / 1e6


def measured(folder: Path, found: Found, *, slow: bool) -> None:
    """Watch until the bear's clip is written; add what was seen."""
    with Clearing() as camera, PostBox() as box:
        box.posted = posted = Timed()
        with watching(folder, camera.url, box.port, slow=slow) as alarm:

            def happens(pattern: str) -> bool:
                found.peak_mb = max(found.peak_mb, memory_mb(alarm))
                return any(folder.glob(pattern))

            camera.bear_comes()
            assert soon(lambda: happens("siren")), (folder / "said").read_text()
            time.sleep(1.0)
            camera.bear = False
            assert soon(lambda: happens("evidence/*/*/clip.mp4")), (folder / "said").read_text()
    rung = Event.from_json((folder / "siren").read_text())
    found.latency_ms.append(rung.latency_ms or 0.0)
    found.posted_ms.append(1000 * (posted.at[rung.id] - datetime.fromisoformat(rung.captured_at).timestamp()))
    moments = [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]
    moments = [each for each in moments if each["kind"] == "moment"]
    # Few of the frames are an alarm's, so that a median of all would not show what these wait for.
    found.frame_ms.append(max(each["frame_ms"] for each in moments))
    times = [(early["time"], late["time"]) for early, late in pairwise(moments) if late["index"] == early["index"] + 1]
    found.gap_ms.append(1000 * max(late - early for early, late in times))
    found.syncs += len((folder / "calls").read_text().splitlines())


def killed(folder: Path) -> tuple[int, int, int]:
    """Kill the alarm while the slow disk keeps a bear, three times; then start it and let it post.

    Return how many events were acknowledged, how many of these the journal lost, and how many were never posted.
    """
    count, random_ = Count(), random.Random(3)
    with PostBox() as box:
        for _ in range(KILLED_ROUNDS):
            before = len(acknowledged(folder))
            with Clearing() as camera, watching(folder, camera.url, box.port, slow=True) as alarm:
                camera.bear_comes()
                assert soon(lambda before=before: len(acknowledged(folder)) > before), (folder / "said").read_text()
                time.sleep(random_.uniform(0, 2 * DELAY_MS / 1000))
                alarm.kill()
            count.acknowledged |= acknowledged(folder)
            look(folder / "state", count)
        with Clearing() as camera, watching(folder, camera.url, box.port, slow=True):
            soon(lambda: count.acknowledged <= posted(box))
        never = count.acknowledged - posted(box)
    assert count.checks == {"ok"}, count.checks
    return len(count.acknowledged), len(count.acknowledged - count.written), len(never)


def acknowledged(folder: Path) -> set[str]:
    """Return the ids of the events that were printed as being on the disk."""
    path = folder / "events.jsonl"
    whole = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
    return {event.id for event in map(Event.from_json, whole) if event.durable}


def posted(box: PostBox) -> set[str]:
    """Return the ids of the events that the webhook got."""
    return {event.id for event in map(event_of, box.posted) if event}


def event_of(posted: Posted) -> Event | None:
    """Return the event that was posted; None where it is a picture."""
    return Event.from_json(posted.body.decode()) if posted.body.startswith(b"{") else None


def cell(values: list[float]) -> str:
    """Return the median and the most of milliseconds."""
    return f"{median(values):.1f}; {max(values):.1f}"


def main() -> None:
    """Print tables, in Markdown."""
    given = argparse.ArgumentParser()
    given.add_argument("--kills", type=int, default=30)
    asked = given.parse_args()
    if lacking := [tool for tool in ("strace", "taskset", "prlimit") if not shutil.which(tool)]:
        print(f"A small board could not be simulated: {', '.join(lacking)} must be installed.")
        sys.exit(int("all" in os.environ.get("BEAR_ALARM_REQUIRE", "").split()))
    found = {"quick": Found(), "slow": Found()}
    with tempfile.TemporaryDirectory() as place:
        for number in range(ROUNDS):
            for name, one in found.items():
                folder = Path(place) / f"{name}-{number}"
                folder.mkdir()
                measured(folder, one, slow=name == "slow")
        quick, slow = found.values()
        rows: dict[str, Callable[[Found], list[float]]] = {
            "frame handed over to siren called": lambda one: one.latency_ms,
            "the longest frame around an alarm": lambda one: one.frame_ms,
            "the longest time from one frame to the next": lambda one: one.gap_ms,
            "frame captured to webhook called, which the journal goes before": lambda one: one.posted_ms,
        }
        print(f"| one core, {MEGABYTES} MB; ms, median of {ROUNDS} alarms; the most | the disk as it is "
              f"| each fsync takes {DELAY_MS} ms | ratio of the medians |\n|---|---|---|---|")  # fmt: skip
        for words, values in rows.items():
            ratio = median(values(slow)) / median(values(quick))
            print(f"| {words} | {cell(values(quick))} | {cell(values(slow))} | {ratio:.2f} |")
        print(f"| alarms; fsyncs | {len(quick.latency_ms)}; {quick.syncs} | {len(slow.latency_ms)}; {slow.syncs} | |")
        print(f"| peak memory of all processes, MB | {quick.peak_mb:.0f} | {slow.peak_mb:.0f} | |\n", flush=True)
        for name in ("watch", "flow"):
            (Path(place) / name).mkdir()
        kept, lost, never = killed(Path(place) / "watch")
        command = [*board(Path(place) / "calls", slow=True), sys.executable, "-c", KILLS]
        command += [str(Path(place) / "flow"), str(asked.kills)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        flow_kept, flow_lost, flow_never, checks = json.loads(done.stdout.splitlines()[-1])
    print("| kill -9 on the slow disk | acknowledged | of these not in the journal | of these never delivered "
          "|\n|---|---|---|---|")  # fmt: skip
    print(f"| `watch`, {KILLED_ROUNDS} times while a bear is kept | {kept} | {lost} | {never} |")
    print(f"| events without end, {asked.kills} times | {flow_kept} | {flow_lost} | {flow_never} |")
    assert (lost, never, flow_lost, flow_never, checks) == (0, 0, 0, 0, ["ok"])
    assert max(quick.peak_mb, slow.peak_mb) <= MEGABYTES
    for words, values in list(rows.items())[:3]:
        waits = median(values(slow)) - median(values(quick))
        assert waits < DELAY_MS / 2, f"{words}: {waits:.0f} ms more on the slow disk"


if __name__ == "__main__":
    main()
