"""The engine of this machine, with real processes that have no model."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from edge.background import NICE
from edge.batch import local
from edge.batch.local import Outcome, run_shards
from edge.errors import OptionError
from edge.files import try_lock
from tests.helpers.broker import until

CHILD = Path(__file__).parents[1] / "helpers" / "shard_child.py"


class Stage:
    """A folder of shards, and who ran them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.how: dict[int, str] = {}
        self.pictures: dict[int, int] = {}
        self.seconds = 0.01
        self.shown: list[int] = []

    def command(self, number: int) -> list[str]:
        pictures = str(self.pictures[number])
        how = self.how.get(number, "well")
        return [sys.executable, str(CHILD), str(self.folder), str(number), pictures, str(self.seconds), how]

    def done(self, number: int) -> bool:
        return (self.folder / f"{number}.done").exists()

    def free(self, number: int) -> bool:
        with (self.folder / f"{number}.lock").open("w") as lock:
            return try_lock(lock.fileno())

    def run(
        self,
        pictures: Sequence[int],
        workers: int = 2,
        done: Callable[[int], bool] | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Outcome:
        self.pictures = dict(enumerate(pictures, 1))
        return run_shards(
            self.command,
            list(self.pictures),
            workers=workers,
            done=done or self.done,
            free=self.free,
            pictures=self.pictures.__getitem__,
            progress=progress or self.shown.append,
        )

    def noted(self, what: str, column: int = 0) -> list[int]:
        file = self.folder / what
        return [int(line.split()[column]) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Stage:
    monkeypatch.setattr(local, "PROGRESS_S", 0.05)
    monkeypatch.setattr(local, "AGAIN_S", 0.2)
    caplog.set_level("INFO", logger="edge.batch.local")
    return Stage(tmp_path)


def test_each_shard_is_run_once_the_largest_first_and_all_files_are_counted(stage: Stage) -> None:
    assert stage.run([2, 9, 4, 9], workers=1) == Outcome()
    assert stage.noted("begun") == stage.noted("ended") == [2, 4, 3, 1]
    assert stage.shown[-1] == 24
    assert any(0 < shown < 24 for shown in stage.shown)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's priorities")
def test_so_many_are_at_work_at_a_time_and_other_programs_go_first(stage: Stage) -> None:
    at_work: list[int] = []
    stage.seconds = 0.1
    stage.run(
        [5, 5, 5, 5], progress=lambda count: at_work.append(len(stage.noted("begun")) - len(stage.noted("ended")))
    )
    assert max(at_work) == 2
    assert set(stage.noted("begun", 2)) == {NICE}


def test_a_shard_whose_process_is_killed_is_run_once_more(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.how = {1: "once"}
    assert stage.run([3, 3, 3]) == Outcome()
    assert sorted(stage.noted("begun")) == [1, 1, 2, 3]
    assert sorted(stage.noted("ended")) == [1, 2, 3]
    assert stage.shown[-1] == 9
    assert caplog.messages == ["shard 1 ended too early (killed by SIGKILL); it is run once more"]


def test_one_that_crashes_each_time_is_named_and_the_others_are_done(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.how = {2: "crash"}
    assert stage.run([3, 3, 3]) == Outcome(failed=[2])
    assert stage.noted("begun").count(2) == 2
    assert sorted(stage.noted("ended")) == [1, 3]
    assert stage.shown[-1] == 6
    assert caplog.messages[-1] == "shard 2 failed 2 times (killed by SIGKILL); the same command tries it again"


def test_after_a_mistake_of_the_user_no_shard_is_begun_and_those_at_work_end_well(stage: Stage) -> None:
    stage.how = {1: "refuse"}
    assert stage.run([20, 19, 3, 3, 3, 3]) == Outcome(refused="the disk is full; make room")
    assert len(stage.noted("begun")) < 6
    assert stage.noted("begun").count(1) == 1
    assert set(stage.noted("begun")) - {1} == set(stage.noted("ended"))


def test_a_shard_of_another_run_is_waited_for_and_run_if_that_one_gives_up(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    (stage.folder / "1.lock").touch()
    theirs = os.open(stage.folder / "1.lock", os.O_RDWR)
    assert try_lock(theirs)

    def give_up() -> None:
        until(lambda: bool(caplog.messages) and stage.noted("ended") == [2])
        os.close(theirs)

    freed = threading.Thread(target=give_up)
    freed.start()
    assert stage.run([9, 3]) == Outcome()
    freed.join()
    assert stage.noted("begun") == stage.noted("ended") == [2, 1]  # no process is started to wait
    assert caplog.messages == ["waiting for another run, which has these shards: 1"]


def test_a_shard_that_another_run_does_meanwhile_starts_no_process(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "command", lambda number: pytest.fail("started"))
    done = iter([False, True, True])  # at the beginning, before it would be started, at its end
    assert stage.run([3], done=lambda number: next(done)) == Outcome()
    assert stage.shown[-1] == 3


def test_a_shard_that_is_done_and_asked_for_is_run_again(stage: Stage) -> None:
    (stage.folder / "1.done").touch()
    (stage.folder / "2.done").touch()
    stage.how = dict.fromkeys([1, 2], "again")
    assert stage.run([3, 3]) == Outcome()
    assert sorted(stage.noted("ended")) == [1, 2]


def test_words_of_the_processes_are_passed_on_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.how = dict.fromkeys([1, 2, 3], "warn")
    assert stage.run([3, 3, 3]) == Outcome()
    assert caplog.messages == ["the clock is wrong", "look at it"]


def test_two_runs_at_once_look_at_each_shard_once(stage: Stage) -> None:
    other = threading.Thread(target=stage.run, args=([3] * 8,))
    other.start()
    assert stage.run([3] * 8) == Outcome()
    other.join()
    assert sorted(stage.noted("ended")) == sorted(stage.noted("begun")) == list(range(1, 9))


def test_ctrl_c_ends_the_processes(stage: Stage) -> None:
    stage.seconds = 1.0

    def interrupt(count: int) -> None:
        if len(stage.noted("begun")) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.run([600] * 5, progress=interrupt)
    assert all(over(process) for process in stage.noted("begun", 1))
    assert len(stage.noted("begun")) == 2


def test_an_error_of_the_caller_ends_the_processes(stage: Stage) -> None:
    stage.seconds = 0.2

    def fail(number: int) -> bool:
        raise OptionError("the folder of shards is gone")

    with pytest.raises(OptionError, match="gone"):
        stage.run([600, 1], done=fail)
    assert all(over(process) for process in stage.noted("begun", 1))


def test_when_this_process_is_killed_its_children_end(stage: Stage) -> None:
    stage.seconds, stage.pictures = 0.2, {1: 600}
    code = (
        "import sys; from edge.batch.local import run_shards; "
        "run_shards(lambda n: sys.argv[1:], [1], workers=1, done=lambda n: False, "
        "free=bool, pictures=bool, progress=bool)"
    )
    driver = subprocess.Popen([sys.executable, "-c", code, *stage.command(1)], cwd=CHILD.parents[2])
    while not (begun := stage.noted("begun", 1)):
        assert driver.poll() is None
    driver.kill()
    driver.wait()
    waiting = threading.Event()
    while not over(begun[0]):
        waiting.wait(0.1)
    assert stage.noted("ended") == []


def over(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    status = Path(f"/proc/{process}/stat")  # one whose parent was killed may wait for init
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"
