"""The whole alarm in each stage: who hears of a bear, and what a demotion does."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.alarm import Alarm
from edge.alert.mqtt_settings import MqttSettings
from edge.detect.camera_check import FaultReport
from edge.record.review import Review, pass_on
from edge.record.stage_log import read_stages
from edge.schema import CameraFault, Event, EventKind, TroubleKind
from edge.settings import AlertSettings, Camera, EvidenceSettings, Settings, StageSettings
from tests.helpers.cutting import played
from tests.helpers.fake_camera import LiveYard, soon
from tests.helpers.journal_stage import ask
from tests.helpers.power_cut import Disk, record
from tests.helpers.rollout_world import RolloutWorld
from tests.helpers.tiny import tiny_card, write_tiny_model
from tests.helpers.webhook_server import PostBox
from tests.helpers.yard import yard_clip

CHILD = Path(__file__).parents[1] / "helpers" / "rollout_child.py"


class Device:
    """An alarm before a live yard, with a command, a webhook, messages and a broker that is away."""

    def __init__(self, folder: Path, yard: LiveYard, hook: PostBox, phone: PostBox, stage: str | None) -> None:
        self.folder, self.yard, self.hook, self.phone = folder, yard, hook, phone
        self.events: list[Event] = []
        self.rang = folder / "rang"
        self.settings = Settings(
            cameras=(Camera("yard", yard.url, stage=stage),),
            alerts=AlertSettings(
                bell=False,
                on_alarm=f"echo $BEAR_TYPE >> '{self.rang}'",
                webhook=f"http://127.0.0.1:{hook.port}/bees",
                notify=(f"json://127.0.0.1:{phone.port}/bees",),
                mqtt=MqttSettings("127.0.0.1", 9),
            ),
            evidence=EvidenceSettings(keep=False),
            stages=StageSettings(answer_s=3600.0),
            model=str(write_tiny_model(folder / "tiny.onnx", tiny_card())),
            state=folder / "state",
            waits=True,
        )
        self.alarm = Alarm(self.settings, terminal=self.events.append)

    def start(self) -> None:
        self.over = False
        self.alarm.start()
        self.ticking = threading.Thread(target=self._tick, args=(self.alarm,), daemon=True)
        self.ticking.start()
        assert soon(lambda: self.alarm.status().cameras[0].frames > 3)

    def end(self) -> None:
        self.over = True
        self.ticking.join(5.0)
        self.alarm.stop_cameras()
        self.alarm.close(5.0)

    def _tick(self, alarm: Alarm) -> None:
        while not self.over:
            alarm.tick(time.monotonic())
            time.sleep(0.05)

    def bear(self) -> Event:
        """Have a bear walk by; return the first event of it, once its end is in the journal."""
        known = {event.id for event in self.events}
        self.yard.bear = True
        assert soon(lambda: self._new(known), 60.0)
        self.yard.bear = False
        event = self._new(known)[0]
        ended = "SELECT 1 FROM events WHERE event_id = ? AND type = 'end'"
        assert soon(lambda: ask(self.folder / "state", ended, event.id), 60.0)
        return event

    def publish(self, kind: EventKind, id_: str, camera: str, **more: Any) -> Event:
        """Publish an event that begins."""
        event = self.alarm.run.event(kind, "new", id_, camera, **more)
        assert self.alarm.alerting
        self.alarm.alerting.publish(event)
        return event

    def fault(self, kind: TroubleKind, detail: str) -> None:
        """Have the camera report a fault."""
        self.alarm.threads[0].watcher.publisher.trouble(
            "yard", FaultReport("new", uuid.uuid4().hex, CameraFault(kind, detail), 0.0)
        )

    def _new(self, known: set[str]) -> list[Event]:
        return [event for event in self.events if event.kind == "bear" and event.id not in known]

    def queued(self, kind: str) -> set[str]:
        """Return the kinds of channels for which something of this kind was ever queued."""
        query = "SELECT channel FROM outbox JOIN events ON events.id = outbox.event WHERE kind = ?"
        return {row[0].split()[0] for row in ask(self.folder / "state", query, kind)}

    def told(self, words: str) -> bool:
        """Return True once a phone has these words."""
        return any(words in json.loads(each.body)["message"] for each in self.phone.posted)


@contextmanager
def device(folder: Path, stage: str | None) -> Iterator[Device]:
    with LiveYard() as yard, PostBox() as hook, PostBox() as phone:
        made = Device(folder, yard, hook, phone, stage)
        made.start()
        try:
            yield made
        finally:
            made.end()


def test_in_shadow_a_bear_is_recorded_and_nobody_hears_of_it_but_of_a_broken_camera(tmp_path: Path) -> None:
    with device(tmp_path, "shadow") as made:
        bear = made.bear()
        assert (bear.stage, bear.alarms) == ("shadow", False)
        assert made.queued("bear") == set()
        made.fault("gone", "the camera gives no picture")
        made.publish("health", "d" * 32, "alarm", detail="the disk is full")
        assert soon(lambda: made.told("the camera gives no picture") and made.told("the disk is full"))
        for kind in ("camera", "health"):
            assert made.queued(kind) == {"webhook", "notify", "mqtt"}
        assert not made.rang.exists()
        assert not any(b'"kind":"bear"' in each.body for each in made.hook.posted)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["supervised", "autonomous", None])
def test_in_the_other_stages_people_hear_of_a_bear_and_only_supervised_waits_with_the_noise(
    tmp_path: Path, stage: str | None
) -> None:
    with device(tmp_path, stage) as made:
        bear = made.bear()
        assert bear.alarms
        assert bear.stage == stage
        assert made.queued("bear") == {"webhook", "notify", "mqtt"}
        assert soon(lambda: made.phone.posted)
        assert soon(made.rang.exists, 2.0 if stage == "supervised" else 20.0) == (stage != "supervised")


def test_a_camera_of_a_clip_that_keeps_no_journal_is_silent_in_shadow(tmp_path: Path) -> None:
    with LiveYard() as yard, PostBox() as box:
        settings = Device(tmp_path, yard, box, box, "shadow")
        settings.alarm.close(0.0)
        camera = Camera("clip", str(yard_clip(tmp_path / "clip.avi")), stage="shadow")
        alone = replace(settings.settings, cameras=(camera,), waits=False, state=None)
        quiet = replace(alone, alerts=replace(alone.alerts, webhook=None, notify=(), mqtt=None))
        told: list[Event] = []
        alarm = Alarm(quiet, terminal=told.append)
        assert alarm.rollout is None
        alarm.start()
        assert soon(lambda: not alarm.alive, 60.0)
        alarm.close(5.0)
    assert {event.stage for event in told if event.kind == "bear"} == {"shadow"}
    assert not settings.rang.exists()


@pytest.mark.slow
def test_a_moved_camera_notifies_at_once_and_its_next_bear_waits_for_a_yes(tmp_path: Path) -> None:
    with device(tmp_path, "autonomous") as made:
        made.fault("moved", "the view is another one")
        assert made.alarm.threads[0].watcher.publisher.stage == "supervised"  # before the next frame
        assert soon(lambda: made.told("yard is supervised now, because the camera was moved"))
        assert made.bear().stage == "supervised"
        assert not made.rang.exists()


def test_wrong_reviews_end_autonomous_within_a_look(tmp_path: Path) -> None:
    with device(tmp_path, "autonomous") as made:
        state = tmp_path / "state"
        model = made.alarm.classifier.name
        for number in range(3):
            stage = made.alarm.threads[0].watcher.publisher.stage
            bear = made.publish("bear", f"{number:032x}", "yard", model=model, stage=stage)
            assert soon(lambda id_=bear.id: ask(state, "SELECT 1 FROM events WHERE event_id = ?", id_))
            assert pass_on(state, [bear.id], Review("wrong", bear.captured_at)) is None
        assert soon(lambda: made.told("because 3 reviewed alarms in a row were wrong"))
        moved = ["autonomous", "supervised"]  # written after it is said
        assert soon(lambda: [entry.stage for entry in read_stages(state)["yard"]] == moved)


def test_a_reload_with_another_model_ends_autonomous_with_a_notice(tmp_path: Path) -> None:
    with device(tmp_path, "autonomous") as made:
        before = made.alarm
        made.over = True
        made.ticking.join(5.0)
        before.stop_cameras()
        before.close(2.0, keep=True)
        other = write_tiny_model(tmp_path / "other.onnx", replace(tiny_card(), created="2026-02-02T00:00:00Z"))
        made.alarm = Alarm(replace(made.settings, model=str(other)), terminal=made.events.append, before=before)
        made.start()
        assert made.alarm.threads[0].watcher.publisher.stage == "supervised"
        assert soon(lambda: made.told(f"the model is another one ({made.alarm.classifier.name})"))


@pytest.mark.slow
@pytest.mark.parametrize("written", ["shadow", "autonomous"])
def test_a_question_outlives_a_reload_whatever_the_config_says_while_the_journal_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    heard, settings = (
        tmp_path / "heard",
        Settings(
            cameras=(Camera("yard", "http://127.0.0.1:9/none", stage=written),),
            alerts=AlertSettings(bell=False, on_alarm=f"echo $BEAR_TYPE >> '{tmp_path / 'heard'}'"),
            evidence=EvidenceSettings(keep=False),
            stages=StageSettings(answer_s=60.0),
            model=str(write_tiny_model(tmp_path / "tiny.onnx", tiny_card())),
            state=tmp_path / "state",
            waits=True,
        ),
    )
    first = Alarm(settings)
    assert first.alerting
    assert first.rollout
    first.rollout.choose("yard", "supervised", "anna")
    first.rollout.look()
    assert read_stages(tmp_path / "state")["yard"][-1].stage == "supervised"
    first.alerting.publish(first.run.event("bear", "new", uuid.uuid4().hex, "yard", label="bear", stage="supervised"))
    first.close(1.0, keep=True)

    def slowly(folder: Path) -> Any:
        time.sleep(1.0)
        return read_stages(folder)

    monkeypatch.setattr("edge.rollout.read_stages", slowly)
    second = Alarm(settings, before=first)
    try:
        assert second.alerting
        (question,) = second.alerting.confirmations.open
        assert not heard.exists()
        second.alerting.confirmations.answer(question.token, "yes", "anna")
        assert soon(heard.exists)
    finally:
        second.close(1.0)


def test_a_bear_that_is_there_when_its_camera_goes_to_shadow_ends_for_all_who_heard_of_it(tmp_path: Path) -> None:
    with device(tmp_path, "autonomous") as made:
        made.yard.bear = True
        assert soon(lambda: made._new(set()), 60.0)
        assert made.alarm.rollout
        made.alarm.rollout.choose("yard", "shadow", "anna")
        made.yard.bear = False
        assert soon(lambda: any(event.type == "end" for event in made._new(set())), 60.0)
        assert soon(lambda: any(b'"type":"end"' in each.body for each in made.hook.posted))


# Killed


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_killed_at_any_instant_the_stage_is_the_last_one_or_the_one_that_was_being_written(tmp_path: Path) -> None:
    random_, said_by_all, times = random.Random(1), 0, 0
    while times < 12 or said_by_all <= 24:  # on a slow disk each says little
        times += 1
        child = subprocess.Popen([sys.executable, CHILD, "turn", tmp_path], stdout=subprocess.PIPE, text=True)
        said: list[str] = []
        reading: Any = threading.Thread(target=lambda child=child, said=said: said.extend(child.stdout or ()))
        reading.start()
        assert soon(lambda said=said: said, 60.0)
        time.sleep(random_.uniform(0.0, 0.2))
        assert child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait(30)
        reading.join(30)
        assert child.stdout
        child.stdout.close()
        said_by_all += len(said)
        kept = read_stages(tmp_path)["yard"][-1].stage
        following = {"autonomous": "supervised", "supervised": "autonomous"}
        last = said[-1].strip()
        assert kept in (last, following[last])
        world = RolloutWorld(tmp_path)
        assert world.look() == []
        assert world.stage() == kept
        world.close()
    moved = sum(entry.by == "" and entry.stage == "supervised" for entry in read_stages(tmp_path)["yard"])
    notices = ask(tmp_path, "SELECT count(*) FROM events WHERE kind = 'notice' AND json LIKE '%was moved%'")
    assert notices[0][0] >= moved  # each demotion has its notice, and one may have been told without its row


@pytest.mark.needs_tool("strace")
def test_wherever_the_power_is_cut_what_was_written_is_there(tmp_path: Path) -> None:
    home = tmp_path / "state"
    acts = record([sys.executable, str(CHILD), "write", str(home)], home)

    def check(place: Path, said: list[list[str]]) -> None:
        kept = RolloutWorld(place)
        found = [entry.why for entry in kept.rows() if entry.by]
        kept.close()
        assert found == [str(number) for number in range(len(found))]
        assert len(said) <= len(found) <= len(said) + 1

    count = played(Disk(tmp_path / "nothing"), home, acts, 60, 1, check)
    assert count["cuts"] == 60
    assert count["with bytes unsynced"]
