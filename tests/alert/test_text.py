"""A message as one line of text by a command of the user's own: what it says, what its end means, how often it runs."""

import os
from collections import deque
from datetime import UTC, datetime
from functools import partial

import pytest

from edge.alert.alerting import Alerting
from edge.alert.confirmation import Confirmations
from edge.alert.local_sinks import CommandError
from edge.alert.remote_channels import RemoteChannels
from edge.alert.text import MAX_BYTES, MAX_RUNS, WAIT_S, WITHIN_S, Text, text_id, text_of
from edge.background import call_in_thread
from edge.record.outbox import Message, NotYetError, RefusedError
from edge.record.run import EventFactory
from edge.settings import AlertSettings
from tests.helpers.outbox_world import event, wait_for

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a POSIX shell's commands")

BEAR = event(7, label="brown_bear", score=0.974, zones=("hives",))
NOW = datetime(2026, 1, 1, 12, 5, tzinfo=UTC)


def line(*events, late_s=0.0):
    """The words of a message, without its id."""
    return text_of(Message(events, "word", None, late_s), NOW, UTC).rpartition(" #")[0]


def test_a_line_says_what_where_how_sure_and_when():
    assert line(BEAR) == "BEAR at yard: brown bear, 97% sure, hives, 12:00."
    assert line(BEAR, late_s=600.0) == "BEAR at yard: brown bear, 97% sure, hives, 12:00, 10 minutes late."
    gone = event(8, "new", "camera", label="gone", detail="no picture\nfor 60 s")
    assert line(gone) == "Camera yard has a problem: no picture for 60 s, 12:00."
    assert line(event(9, "new", "test")) == "Test of the bear alarm, 12:00."
    assert line(gone, BEAR, gone) == "BEAR at yard, and 2 more (other messages 2, alarms 1), 12:00 to 12:00."


def test_a_long_line_is_cut_at_a_character_and_keeps_its_time_and_id():
    message = Message((event(1, label="bear", score=0.9, zones=("Bärenhöhle 🐻" * 30,)),), "word")
    words = text_of(message, NOW, UTC)
    assert MAX_BYTES - 4 < len(words.encode()) <= MAX_BYTES
    assert words.endswith(f"..., 12:00. #{text_id(message)}")
    assert "\ufffd" not in words


def test_a_repeat_has_the_same_id_and_an_alarm_again_has_another():
    assert text_id(Message((BEAR,), "word")) == text_id(Message((BEAR,), "word", None, 500.0))
    again = event(8, "update", escalated="rising score")
    assert text_id(Message((again,), "word")) != text_id(Message((BEAR,), "word"))


def test_the_command_gets_the_line_and_its_exit_code_decides(tmp_path):
    message = Message((BEAR,), "word")
    Text(f'cat > {tmp_path}/in; echo "$BEAR_ID $BEAR_TEXT_ID" > {tmp_path}/names').send(message)
    assert (tmp_path / "in").read_text() == f"{text_of(message, datetime.now(UTC))}\n"
    assert (tmp_path / "names").read_text() == f"id7 {text_id(message)}\n"
    with pytest.raises(RefusedError, match="exit code 65"):
        Text("exit 65").send(message)
    with pytest.raises(CommandError, match="exit code 1"):
        Text("false 0151-2345").send(message)


def test_failed_runs_count_too_and_other_messages_leave_some_to_alarms():
    now = [0.0]
    runs: deque[float] = deque()  # outlives the channel, as over a reload
    gone = Message((event(8, "new", "camera", label="gone"),), "word")
    for message, runs_before, runs_after in ((gone, 0, MAX_RUNS - 5), (Message((BEAR,), "word"), 15, MAX_RUNS)):
        channel = Text("false", runs=runs, clock=lambda: now[0])
        for _ in range(runs_after - runs_before):
            with pytest.raises(CommandError):
                channel.send(message)
        with pytest.raises(NotYetError, match="in an hour") as refused:
            channel.send(message)
        assert refused.value.after_s == WITHIN_S
    now[0] = WITHIN_S
    with pytest.raises(CommandError):
        Text("false", runs=runs, clock=lambda: now[0]).send(gone)


def at_its_end(pipe):
    """Return True when nobody can write to a pipe any more."""
    try:
        return os.read(pipe, 1) == b""
    except BlockingIOError:
        return False


def test_what_hangs_is_ended_with_all_it_started(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.alert.text.LIMIT_S", 0.5)
    os.mkfifo(tmp_path / "held")
    held = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(CommandError, match="took longer than"):
            Text(f"sleep 100 > {tmp_path}/held & wait").send(Message((BEAR,), "word"))
        wait_for(lambda: at_its_end(held))  # nobody has it open any more
    finally:
        os.close(held)


def test_one_runs_at_a_time_also_over_a_reload_and_none_is_begun_without_its_whole_time(tmp_path):
    def channel(before=None):
        made = RemoteChannels(
            remember=lambda routes: None,
            watching=lambda camera: False,
            stats=dict,
            confirmations=Confirmations(lambda event: None),
            page=lambda: None,
            before=before,
        )
        made.plan(AlertSettings(text=f"mkdir {tmp_path}/radio && sleep 0.2 && rmdir {tmp_path}/radio"), (), None)
        made.make()
        (reached,) = made._reached.values()
        return made, reached.channel

    before, first = channel()
    _, second = channel(before)
    sends = [call_in_thread(partial(each.send, Message((BEAR,), "word")), "send") for each in (first, second)]
    assert [each.result(20.0) for each in sends] == [None, None]
    times = iter((0.0, WAIT_S + 0.1))
    with pytest.raises(NotYetError, match="still being sent"):  # it had waited that long for the one before
        Text(f"echo x > {tmp_path}/begun", clock=lambda: next(times)).send(Message((BEAR,), "word"))
    assert not (tmp_path / "begun").exists()


@pytest.mark.alone
def test_it_is_a_channel_of_the_alarm_and_what_was_not_sent_is_sent_by_the_next_run(tmp_path):
    def alerting(line):
        return Alerting(AlertSettings(bell=False, text=line), EventFactory(), state=tmp_path / "state")

    first = alerting(f"echo x >> {tmp_path}/tries; exit 1")
    bear = first.run.event("bear", "new", "a" * 32, "yard", label="bear", score=0.9)
    for sink in first.sinks:
        sink(bear)
    wait_for((tmp_path / "tries").exists)
    first.close(2.0)
    second = alerting(f"cat >> {tmp_path}/sent")
    wait_for(lambda: (tmp_path / "sent").exists() and (tmp_path / "sent").read_text().endswith("\n"))
    second.close(2.0)
    (sent,) = (tmp_path / "sent").read_text().splitlines()
    assert sent.startswith("BEAR at yard: bear, 90% sure")
    assert sent.endswith(f"#{text_id(Message((bear,), 'word'))}")
