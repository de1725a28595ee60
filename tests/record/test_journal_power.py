"""The power is cut at any instant: what was written and not yet synced is gone, torn or there, and nothing is lost."""

import pytest

from tests.helpers import cutting

pytestmark = pytest.mark.needs_tool("strace")


def test_wherever_the_power_is_cut_what_was_acknowledged_is_there(tmp_path):
    count = cutting.lives(tmp_path, 80, seed=1)
    assert count["cuts"] == 80
    assert count["with bytes unsynced"] > 20


def test_a_journal_that_does_not_sync_is_found_out(tmp_path, capfd):
    with pytest.raises(AssertionError, match=r"is lost|damaged|waits again"):
        cutting.lives(tmp_path, 400, seed=1, how="careless")
    assert "cut after act" in capfd.readouterr().err


def test_wherever_the_power_is_cut_a_damaged_journal_is_mended_in_the_end(tmp_path):
    cutting.damaged(tmp_path / "damaged")
    count = cutting.mendings(tmp_path, tmp_path / "damaged", 80, seed=1)
    assert count["cuts"] == 80
    assert count["with bytes unsynced"] > 10
