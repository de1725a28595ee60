"""One alarm watches with a state folder; a second one is refused, and what is tried beside it disturbs nothing."""

import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from edge.alert.alerting import Alerting
from edge.errors import OptionError
from edge.record import run
from edge.record.run import LOCK, EventFactory, RunLock, keep_alone, watching_run
from edge.settings import AlertSettings
from tests.helpers.command import bear_alarm
from tests.helpers.journal_stage import MQTT, Wants, ask, event, ids, journal
from tests.helpers.yard import yard_clip, yard_model

ROOT = Path(__file__).parents[2]


@pytest.fixture
def soon(monkeypatch):
    """No waiting for an alarm that is just ending."""
    monkeypatch.setattr(RunLock.take, "__defaults__", (0.0,))


def test_a_second_watch_is_refused_in_one_sentence(tmp_path):
    clip, model = yard_clip(tmp_path / "yard.avi"), yard_model(tmp_path / "tiny.onnx")
    state = tmp_path / "state"
    with closing(RunLock(state, "a" * 32)) as other:
        assert other.take()
        ran = bear_alarm("watch", clip, "--model", model, "--no-bell", "--no-evidence", "--state", state, cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].startswith(f"bear-alarm: {state}: another alarm uses this state folder")
    assert "Traceback" not in ran.stderr
    assert not (state / "journal.db").exists()


def test_the_lock_is_free_when_its_process_is_killed(tmp_path):
    code = (
        "import sys; from pathlib import Path; from edge.record.run import RunLock\n"
        "print(RunLock(Path(sys.argv[1]), 'theirs').take(), flush=True); input()"
    )
    words = [sys.executable, "-c", code, tmp_path]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, cwd=ROOT) as other:
        assert other.stdout
        assert other.stdout.readline() == "True\n"
        assert watching_run(tmp_path) == "theirs"
        mine = RunLock(tmp_path, "mine")
        assert not mine.take(0.0)
        other.kill()
    assert watching_run(tmp_path) is None
    assert mine.take()
    assert watching_run(tmp_path) == "mine"
    mine.close()


def test_an_alarm_is_refused_beside_another_and_lets_go_when_it_ends(tmp_path, soon):
    first = Alerting(AlertSettings(bell=False), EventFactory("first"), state=tmp_path)
    with pytest.raises(OptionError, match="another alarm"):
        Alerting(AlertSettings(bell=False), EventFactory("second"), state=tmp_path)
    assert watching_run(tmp_path) == "first"
    first.close(5.0)
    Alerting(AlertSettings(bell=False), EventFactory("second"), state=tmp_path).close(5.0)


def test_where_nothing_can_be_locked_the_alarm_goes_on(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    keep_alone(tmp_path / "file" / "folder", "mine").close()
    assert "cannot be locked" in caplog.text


def test_a_disk_that_hangs_does_not_keep_the_alarm_from_starting(tmp_path, monkeypatch, caplog):
    go, real = threading.Event(), os.open
    monkeypatch.setattr(run, "LOCK_DISK_S", 0.2)

    def hang(path, *args, **more):
        if LOCK in str(path):
            go.wait(30)
        return real(path, *args, **more)

    monkeypatch.setattr(os, "open", hang)
    lock = keep_alone(tmp_path, "mine")
    go.set()
    assert "the disk does not answer" in caplog.text
    lock.close()
    time.sleep(0.3)  # the late call ends, and holds nothing: another alarm may begin
    monkeypatch.undo()
    keep_alone(tmp_path, "another").close()


def test_a_test_of_an_older_version_is_no_news_later(tmp_path):
    run = EventFactory("before")
    before = journal(tmp_path, Wants(MQTT), run=run)
    before(event(run, "test", kind="test"))
    before(event(run, "bear"))
    before.close()
    alarm = journal(tmp_path, Wants(MQTT))
    assert ids(alarm.waiting(MQTT)) == ["bear"]
    assert ask(tmp_path, "SELECT event_id, state FROM outbox JOIN events ON events.id = event") == [("bear", "waiting")]
    alarm.close()
