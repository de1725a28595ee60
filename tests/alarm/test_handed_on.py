"""A reload hands on lines of events, the limit of messages, the deterrent's budget, alarms that wait for an answer."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from edge.alert import alerting, deterrent, sound
from edge.alert.alerting import Alerting, JsonLines
from edge.alert.delivery import BURST
from edge.device.health import HALF, SelfMonitor
from edge.device.sensors import Reading
from edge.record.journal import Journal
from edge.record.run import EventFactory
from edge.settings import AlertSettings, HealthSettings
from tests.helpers.journal_stage import ask
from tests.helpers.sink_world import event, lines, script, soon
from tests.helpers.webhook_server import PostBox


@pytest.fixture
def begin(tmp_path):
    """Begins the alerts of an alarm, or of the next one after a reload."""
    run, made = EventFactory(), list[Alerting]()

    def start(before=None, **settings):
        if before:
            before.close(0.2, keep=True)
        state = tmp_path / "state"
        made.append(Alerting(AlertSettings(bell=False, **settings), run, state=state, before=before))
        return made[-1]

    yield start
    made[-1].close(5.0)


def test_an_event_that_the_journal_takes_only_after_the_reload_has_its_line(begin, tmp_path, monkeypatch):
    disk_answers, write = threading.Event(), Journal.__call__

    def slow(journal, what):
        disk_answers.wait(30.0)
        return write(journal, what)

    monkeypatch.setattr(Journal, "__call__", slow)
    file = tmp_path / "e.jsonl"
    first = begin(events=str(file))
    first.publish(event(seq=1))
    first.publish(event(seq=2))
    second = begin(first, events=str(file))
    second.publish(event(seq=3))
    disk_answers.set()
    assert soon(lambda: len(lines(file)) == 3)
    assert {json.loads(line)["seq"] for line in lines(file)} == {1, 2, 3}


def test_lines_that_wait_for_a_slow_disk_are_written_after_the_reload(begin, tmp_path, monkeypatch):
    disk_answers, write = threading.Event(), JsonLines._write

    def slow(file, *what):
        disk_answers.wait(30.0)
        write(file, *what)

    monkeypatch.setattr(JsonLines, "_write", slow)
    file = tmp_path / "e.jsonl"
    first = begin(events=str(file))
    for seq in range(1, 4):
        first.publish(event(seq=seq))
    begin(first)
    disk_answers.set()
    assert soon(lambda: len(lines(file)) == 3)


def test_a_reload_gives_people_no_further_burst_of_messages(begin, tmp_path):
    done = "SELECT count(*) FROM outbox WHERE state = 'done'"
    with PostBox() as box:
        place = {"notify": (f"json://127.0.0.1:{box.port}/bees",)}
        first = begin(**place)
        for number in range(1, BURST + 1):
            first.publish(event(seq=number))
            assert soon(lambda: ask(tmp_path / "state", done) == [(number,)])  # noqa: B023
        begin(first, **place).publish(event(seq=BURST + 1))
        time.sleep(1.0)
        assert len(box.posted) == BURST


def test_a_reload_gives_the_deterrent_no_further_minutes(begin, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    player = script(tmp_path, "player", f"echo played >> {tmp_path / 'played'}; exec sleep 0.2")
    monkeypatch.setattr(sound, "_installed", lambda name, *options: [player] if name == "aplay" else [])
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(deterrent, "HOURLY_S", deterrent.SOUND_S[1] + 0.01)
    first = begin(deterrent="on")
    first.publish(event(seq=1))
    assert soon(lambda: lines(tmp_path / "played"))
    second = begin(first, deterrent="on")
    heard = len(lines(tmp_path / "played"))
    second.publish(event(seq=2))
    assert soon(lambda: "minutes of noise an hour are used up" in caplog.text)
    assert len(lines(tmp_path / "played")) == heard


@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_an_alarm_that_waits_for_an_answer_makes_its_noise_after_the_reload(begin, tmp_path, when):
    heard = tmp_path / "heard"
    first = begin(on_alarm=f"cat >> {heard}")
    first.publish(event(stage="supervised"))
    (question,) = first.confirmations.open

    def answer():
        first.confirmations.answer(question.token, "yes", "anna")

    if when == "before":
        answer()
        assert soon(lambda: lines(heard))
    first.close(0.2, keep=True)
    assert first.losses() == []
    if when == "during":
        answer()
    second = begin(first, on_alarm=f"cat >> {heard}")
    if when == "after":
        answer()
    second.confirmations.tick()
    assert soon(lambda: lines(heard))
    second.confirmations.tick()
    assert len(lines(heard)) == 1


def test_an_alarm_that_hung_at_its_end_does_not_silence_the_next_one(begin, tmp_path):
    heard = tmp_path / "heard"
    first = begin()
    second = begin(first, on_alarm=f"cat >> {heard}")
    first.close(0.1, keep=True)
    second.publish(event(stage="supervised"))
    (question,) = second.confirmations.open
    second.confirmations.answer(question.token, "yes", "anna")
    assert soon(lambda: lines(heard))


def test_an_alarm_that_waits_when_the_alarm_ends_makes_no_noise_and_is_counted(begin, tmp_path):
    heard = tmp_path / "heard"
    only = begin(on_alarm=f"cat >> {heard}")
    only.publish(event(stage="supervised"))
    (question,) = only.confirmations.open
    only.close(0.5)
    only.confirmations.answer(question.token, "yes", "anna")
    assert "1 alarm waited for an answer, and made no noise" in only.losses()
    assert not heard.exists()


def test_what_waits_for_an_answer_sounds_though_the_main_loop_hangs(begin, tmp_path):
    heard = tmp_path / "heard"
    only = begin(on_alarm=f"cat >> {heard}")
    only.confirmations.answer_s = 0.5
    only.publish(event(stage="supervised"))
    assert soon(lambda: lines(heard))


def test_an_answer_waits_until_its_event_is_in_the_journal(begin, tmp_path, monkeypatch):
    disk_answers, write = threading.Event(), Journal.__call__

    def slow(journal, what):
        disk_answers.wait(30.0)
        return write(journal, what)

    monkeypatch.setattr(Journal, "__call__", slow)
    only = begin()
    only.publish(event(stage="supervised"))
    only.confirmations.answer(only.confirmations.open[0].token, "no", "anna")
    time.sleep(0.5)
    disk_answers.set()
    found = "SELECT event_id, verdict FROM reviews"
    assert soon(lambda: ask(tmp_path / "state", found) == [("id1", "wrong")])
    assert only.losses() == []


def test_an_answer_about_what_the_journal_never_gets_is_a_problem_and_a_loss(begin, monkeypatch):
    monkeypatch.setattr(alerting, "EVENT_S", 0.0)
    only = begin()
    only.confirmations(event(stage="supervised"))
    only.confirmations.answer(only.confirmations.open[0].token, "no", "anna")
    why = "the answer about yard is not in the journal as a review: its alarm is not there"
    only.tick()
    assert soon(lambda: only._health.parts["answers"]() == f"answers failed: {why}")
    assert [why in line for line in only.losses()] == [True]


def test_a_processor_that_was_hot_is_spared_after_a_reload_too(tmp_path):
    nobody: Any = lambda: None  # noqa: E731

    def monitor(before=None):
        return SelfMonitor(HealthSettings(hot_c=70.0), None, nobody, nobody, root=tmp_path, before=before)

    first = monitor()
    first._effort(Reading(temperature_c=72.0), 0.0)
    assert first.share() == HALF
    second = monitor(first)
    assert second.share() == HALF
    second._effort(Reading(temperature_c=50.0), 10.0)
    second._effort(Reading(temperature_c=50.0), 100.0)
    assert second.share() == 1.0
