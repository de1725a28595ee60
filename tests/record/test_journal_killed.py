"""An alarm that is killed, or whose power is cut, loses no event it has acknowledged; others may write beside it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import cutting
from tests.helpers.journal_stage import Wants, ask, ids, journal
from tests.helpers.killing import CHILD, kill_at_random


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_killed_at_random_instants_it_loses_nothing_it_acknowledged(tmp_path):
    count = kill_at_random(tmp_path, 20, seed=1)
    delivered = {id_ for id_, _, _ in count.delivered}
    assert count.kills == 20
    assert len(count.acknowledged) > 50
    assert count.acknowledged <= count.written
    assert count.acknowledged <= delivered
    assert count.checks == {"ok"}
    assert count.quarantined == 0
    numbers = {(run, seq): id_ for id_, run, seq in count.delivered}
    assert len(numbers) == len(delivered)  # what came twice came with the same id


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_what_a_killed_alarm_left_is_delivered_by_the_next(tmp_path):
    child = subprocess.Popen([sys.executable, CHILD, "hold", tmp_path], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    try:
        assert child.stdout.readline() == "kept\n"
    finally:
        child.kill()
        child.wait(30)
        child.stdout.close()
    kept = journal(tmp_path, Wants("receiver"))
    assert ids(kept.waiting("receiver")) == ["held"]
    kept.close()


@pytest.mark.slow
def test_many_processes_write_one_journal_at_the_same_time(tmp_path):
    children = [
        subprocess.Popen([sys.executable, CHILD, "life", tmp_path, str(seed)], stdout=subprocess.PIPE, text=True)
        for seed in range(3)
    ]
    said = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0]
    assert all(lines.count("kept") == 80 for lines in said)
    assert ask(tmp_path, "PRAGMA integrity_check") == [("ok",)]
    assert ask(tmp_path, "SELECT count(*) FROM runs WHERE ended_at IS NOT NULL") == [(6,)]
    assert not Path(tmp_path, "quarantine").exists()


# The power is cut at any instant: what was not yet synced is gone, torn or there, and nothing is lost.


@pytest.mark.needs_tool("strace")
def test_wherever_the_power_is_cut_what_was_acknowledged_is_there(tmp_path):
    count = cutting.lives(tmp_path, 80, seed=1)
    assert count["cuts"] == 80
    assert count["with bytes unsynced"] > 20


@pytest.mark.needs_tool("strace")
def test_a_journal_that_does_not_sync_is_found_out(tmp_path, capfd):
    with pytest.raises(AssertionError, match=r"is lost|damaged|waits again"):
        cutting.lives(tmp_path, 400, seed=1, how="careless")
    assert "cut after act" in capfd.readouterr().err


@pytest.mark.needs_tool("strace")
def test_wherever_the_power_is_cut_a_damaged_journal_is_mended_in_the_end(tmp_path):
    cutting.damaged(tmp_path / "damaged")
    count = cutting.mendings(tmp_path, tmp_path / "damaged", 80, seed=1)
    assert count["cuts"] == 80
    assert count["with bytes unsynced"] > 10
