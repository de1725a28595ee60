"""SIGHUP: the config is read again while cameras are watched; a good one starts the alarm again in this process.

A bad one changes nothing.
"""

import itertools
import json
import re
import threading
import urllib.request
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from edge.cli.watch import reload as reloading
from edge.cli.watch.command import _watch
from edge.cli.watch.signals import Stop
from edge.detect.classifier import Classifier
from edge.device.watchdog import RESTART, Notifier
from edge.errors import OptionError
from edge.model_store import ModelStore
from edge.settings import Camera, CameraSettings, Settings
from edge.status import Status
from tests.camera.test_streams import free_port
from tests.helpers.fake_camera import LiveYard, soon, watching
from tests.helpers.signed_models import current
from tests.helpers.yard import yard_model


@pytest.fixture
def yard():
    with LiveYard() as server:
        yield server


class Place:
    """A folder with a model and a config that tells how the alarm is on ``port``; a call writes the config anew."""

    def __init__(self, folder, cameras):
        self.folder, self.port, self.cameras = folder, free_port(), cameras
        yard_model(folder / "tiny.onnx")

    def __call__(self, more="", cameras=None):
        lines = "".join(f"  {name}: {source}\n" for name, source in (cameras or self.cameras).items())
        head = f"model: tiny.onnx\nbell: no\nrecord: {{enabled: no}}\nhealth: {{listen: {self.port}}}\n"
        (self.folder / "bear-alarm.yml").write_text(f"{head}cameras:\n{lines}{more}")


@pytest.fixture
def place(tmp_path, yard):
    return Place(tmp_path, {"yard": yard.url})


def frames(place, camera="yard", *, target=False):
    """How many frames of a camera were looked at so far; None: it is not watched, or, ``target``, nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{place.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        if target:
            return None
        raise
    found = [line for line in lines if line.startswith(f'bear_alarm_camera_frames_total{{camera="{camera}"}}')]
    return int(float(found[0].split()[-1])) if found else None


def alarms(file):
    return [json.loads(line)["type"] for line in file.read_text().splitlines()] if file.exists() else []


def ids(file):
    return {json.loads(line)["id"] for line in file.read_text().splitlines()}


def test_what_is_changed_holds_from_then_on_and_the_camera_is_away_for_three_seconds_at_most(place, yard):
    before, after = place.folder / "before.json", place.folder / "after.json"
    place(f"command: {{on_alarm: 'cat >> {before}'}}\n")
    with watching(cwd=place.folder) as alarm:
        alarm.until("Watching yard")
        assert soon(lambda: (frames(place, target=True) or 0) > 10)
        place(f"command: {{on_alarm: 'cat >> {after}'}}\ndetect: {{schedule: daily 0-24}}\n")
        alarm.hang_up()
        printed = alarm.until("was read again")
        (unseen_s,) = re.findall(r"nothing was seen for ([\d.]+) s\.$", printed)
        assert float(unseen_s) <= 3.0
        assert soon(lambda: (frames(place, target=True) or 0) > 10)
        yard.bear = True
        assert soon(lambda: alarms(after))
    assert alarms(before) == []
    assert yard.came == 2


def test_a_bear_in_view_is_a_new_event_and_alarms_again_with_the_new_settings(place, yard):
    """Nothing of it is lost: the journal has both events, in one file with those of before."""
    place("events: e.jsonl\nstate: state\n")
    with watching(cwd=place.folder) as alarm:
        alarm.until("Watching yard")
        yard.bear = True
        assert soon(lambda: alarms(place.folder / "e.jsonl")[:1] == ["new"])
        place("events: e.jsonl\nstate: state\ndetect: {fps: 8}\n")
        alarm.hang_up()
        alarm.until("was read again")
        before = ids(place.folder / "e.jsonl")  # of one bear: two where its halves do not touch
        assert soon(lambda: ids(place.folder / "e.jsonl") - before)
    events = [json.loads(line) for line in (place.folder / "e.jsonl").read_text().splitlines()]
    for each_id in ids(place.folder / "e.jsonl"):
        types = [each["type"] for each in events if each["id"] == each_id]
        assert (types[0], types[-1]) == ("new", "end")
    assert all(each["durable"] for each in events)
    assert len({each["boot_id"] for each in events}) == 1
    assert [each["seq"] for each in events] == sorted(each["seq"] for each in events)


@pytest.mark.slow
def test_a_bad_config_is_reported_and_changes_nothing(place, yard):
    told = place.folder / "told.json"
    place(f"command: {{on_alarm: 'cat >> {told}'}}\nevents: e.jsonl\n")
    with watching(cwd=place.folder) as alarm:
        alarm.until("Watching yard")
        assert soon(lambda: (frames(place, target=True) or 0) > 10)
        place("sond: {play: [siren]}\ndetect: {fps: many}\n")
        alarm.hang_up()
        assert "sound" in alarm.until("sond")
        alarm.until("fps")
        alarm.until("The previous config stays in use")
        alarm.until("the changed config is not used")
        yard.bear = True
        assert soon(lambda: alarms(told) == ["new"])
        place(f"command: {{on_alarm: 'cat >> {told}'}}\nevents: e.jsonl\n")
        alarm.hang_up()
        alarm.until("was read again")
        assert [line for line in alarm.said if "config: all is well again" in line]
    labels = [event["label"] for event in map(json.loads, (place.folder / "e.jsonl").read_text().splitlines())]
    assert labels.count("config") == 2
    assert yard.came == 2


def test_a_model_that_is_no_good_is_refused_and_another_good_one_is_taken(place, yard):
    place("events: e.jsonl\n")
    with watching(cwd=place.folder) as alarm:
        alarm.until("Watching yard")
        whole = (place.folder / "tiny.onnx").read_bytes()
        (place.folder / "tiny.onnx").write_bytes(whole[:1000])
        alarm.hang_up()
        alarm.until("truncated")
        alarm.until("The previous config stays in use")
        (place.folder / "tiny.onnx").write_bytes(whole)
        place("events: e.jsonl\n")
        (place.folder / "bear-alarm.yml").write_text(
            (place.folder / "bear-alarm.yml").read_text().replace("model: tiny.onnx\n", "")
        )
        alarm.hang_up()
        alarm.until("was read again")
        with urllib.request.urlopen(f"http://127.0.0.1:{place.port}/metrics", timeout=10) as answer:
            assert 'model="bear@' in answer.read().decode()
    assert yard.came == 2


def test_cameras_come_and_go(place, yard):
    with LiveYard() as bins:
        place()
        with watching(cwd=place.folder) as alarm:
            alarm.until("Watching yard")
            assert soon(lambda: (frames(place, target=True) or 0) > 5)
            place(cameras={"yard": yard.url, "bins": bins.url})
            alarm.hang_up()
            alarm.until("was read again")
            assert soon(lambda: (frames(place, "bins", target=True) or 0) > 5)
            place(cameras={"bins": bins.url})
            alarm.hang_up()
            alarm.until("was read again")
            assert frames(place) is None
            assert soon(lambda: frames(place, "bins") > 5)
    assert (yard.came, bins.came) == (2, 2)


@pytest.mark.slow
def test_a_camera_that_is_away_at_the_start_is_waited_for(place):
    port = free_port()
    place("command: {on_trouble: 'cat >> trouble.json'}\n", cameras={"yard": f"http://127.0.0.1:{port}/live.mjpg"})
    with watching(cwd=place.folder) as alarm:
        alarm.until("CAMERA")
        with LiveYard(port):
            alarm.until("camera well again")
            assert soon(lambda: (frames(place, target=True) or 0) > 5)
            alarm.process.terminate()
            assert alarm.ended() == 0


@pytest.mark.slow
def test_quiet_it_shows_nothing_of_what_goes_well(place, yard):
    place()
    with watching("--quiet", cwd=place.folder) as alarm:
        assert soon(lambda: (frames(place, target=True) or 0) > 5)
        place("trace: t.jsonl\n")
        alarm.hang_up()
        assert soon((place.folder / "t.jsonl").exists)
        alarm.process.terminate()
        assert alarm.ended() == 0
    assert alarm.said == []
    with watching("--quiet", "demo", cwd=place.folder) as alarm:  # its config is left aside
        assert alarm.ended() == 0
        with pytest.raises(AssertionError, match=r"was not said:\nBEAR  demo at [^\n]*$"):  # nothing but the alarm
            alarm.until("bear-alarm.yml", within_s=1.0)


def test_without_a_config_hanging_up_ends_it(place, yard):
    with watching(yard.url, "--model", "tiny.onnx", "--no-evidence", cwd=place.folder) as alarm:
        alarm.until("raises the alarm in")
        alarm.hang_up()
        assert alarm.ended() == 0


def test_a_fault_of_ours_in_the_main_loop_does_not_end_the_watching(tmp_path, caplog):
    stop, ticks = Stop(), []

    def tick(now):
        ticks.append(now)
        if len(ticks) == 4:
            stop.set()
        raise RuntimeError("dictionary changed size during iteration")

    alarm: Any = SimpleNamespace(
        settings=Settings(), state=tmp_path, threads=[], alive=True, ask=lambda *_: None, start=lambda: None,
        tick=tick, status=lambda now: Status("1", "m", 1.0), stop_cameras=lambda: None,
    )  # fmt: skip
    assert _watch(alarm, None, stop, Notifier.from_environment({}), show=False) is None
    assert len(ticks) == 4
    assert caplog.text.count("the cameras are still watched") == 1  # printed once


def test_a_config_that_cannot_be_read_for_a_hanging_disk_is_a_problem(monkeypatch, tmp_path):
    hangs = threading.Event()
    alarm: Any = SimpleNamespace(classifier=None)
    read: Any = lambda: hangs.wait(60.0)  # noqa: E731
    reload = reloading.Reload(read, tmp_path / "c.yml", Notifier.from_environment({}))
    stop = Stop()
    stop.hung_up = True
    assert reload(alarm, stop) is None
    assert not stop.hung_up
    assert reload.problem() is None
    monkeypatch.setattr(reloading, "MAX_READ_S", 0.0)
    assert "does not answer" in (reload.problem() or "")
    stop.hung_up = True
    assert reload(alarm, stop) is None
    assert stop.hung_up  # for when that has been read
    hangs.set()


def test_a_new_model_is_loaded_with_the_settings_in_use_whatever_the_config_says_by_now(tmp_path):
    store = ModelStore.of(tmp_path)
    old, new = current(store), current(store, "new")
    model = Classifier(store.slot(old))

    def wrong() -> Settings:
        raise OptionError("line 3: no such setting")

    settings = Settings(state=tmp_path)
    updates = SimpleNamespace(not_loaded=False)
    alarm: Any = SimpleNamespace(
        classifier=model, settings=settings, updates=updates, threads=[],
        status=lambda: SimpleNamespace(problems={"config": "it is wrong"}),
    )  # fmt: skip
    reload, stop = reloading.Reload(wrong, tmp_path / "c.yml", Notifier.from_environment({})), Stop()
    stop.hung_up = True
    assert soon(lambda: reload(alarm, stop) is None and reload.problem())
    reload.ask_model()
    assert soon(lambda: reload._reading is None or reload._reading.done())
    found: Any = None

    def is_given() -> bool:
        nonlocal found
        found = reload(alarm, stop)
        return found is not None

    assert soon(is_given)
    assert (found.settings, found.classifier.digest) == (settings, new.sha256)
    assert "line 3" in (reload.problem() or ""), "the config is still wrong"
    never = CameraSettings(fps=0.25, alarm_at=6.0)
    alarm.settings = replace(settings, cameras=(Camera("yard", "demo", settings=never),))
    reload.ask_model()
    assert soon(lambda: reload(alarm, stop) is None and updates.not_loaded)


def test_a_new_model_and_a_config_do_not_displace_each_other(tmp_path):
    store = ModelStore.of(tmp_path)
    old, new = current(store), current(store, "new")
    settings = Settings(state=tmp_path)
    good = replace(settings, cameras=(Camera("yard", "demo"),))
    written: list[Settings] = []
    problems: dict[str, str] = {}

    def read() -> Settings:
        if not written:
            raise OptionError("line 3: no such setting")
        return written[-1]

    alarm: Any = SimpleNamespace(
        classifier=Classifier(store.slot(old)), settings=settings, updates=None, threads=[],
        status=lambda: SimpleNamespace(problems=problems),
    )  # fmt: skip
    reload, stop = reloading.Reload(read, tmp_path / "c.yml", Notifier.from_environment({})), Stop()
    found: list[reloading.Checked | None] = []

    def reloaded() -> bool:
        found.append(reload(alarm, stop))
        return found[-1] is not None

    stop.hung_up = True
    reload.ask_model()
    assert soon(reloaded), "the config is wrong, and the model is loaded all the same"
    assert found[-1]
    assert (found[-1].settings, found[-1].classifier.digest) == (settings, new.sha256)

    problems["config"] = "line 3"
    written.append(good)
    stop.hung_up = True
    assert soon(lambda: not reloaded() and reload._good)
    reload.ask_model()
    assert not any(reloaded() or reload._reading for _ in range(3)), "the config waits for health, the model for it"
    problems.clear()
    assert reloaded()
    assert found[-1]
    assert (found[-1].settings, found[-1].classifier.digest) == (good, new.sha256)
    assert not reloaded()
    assert reload._reading is None, "the config came with the new model"


def test_an_alarm_that_hangs_while_it_is_closed_is_silenced_and_left_behind(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(reloading, "MAX_CLOSE_S", 0.5)
    monkeypatch.setattr(reloading, "FEED_S", 0.05)
    clock = itertools.count(0.0, 0.1)  # of its own: on a busy machine the time is over after fewer turns
    monkeypatch.setattr(reloading, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    hangs, calls = threading.Event(), list[str]()
    alarm: Any = SimpleNamespace(
        stop_cameras=lambda: None, close=lambda *_, **__: hangs.wait(60.0), silence=lambda: calls.append("silence")
    )
    fed: Any = SimpleNamespace(feed=lambda: calls.append("feed"))
    reloading.Reload(Settings, tmp_path / "c.yml", fed).close(alarm)
    hangs.set()
    assert calls.count("feed") >= 3
    assert calls[-1] == "silence"
    assert "left behind" in caplog.text


def test_where_the_next_alarm_hangs_a_service_starts_it_again(monkeypatch, tmp_path):
    monkeypatch.setattr(reloading, "MAX_MAKE_S", 0.1)
    hangs = threading.Event()
    monkeypatch.setattr("edge.alarm.Alarm", lambda *_, **__: hangs.wait(60.0))
    dropped: list[str] = []
    before: Any = SimpleNamespace(settings=Settings(), condition=None, drop=lambda: dropped.append("journal"))
    reload = reloading.Reload(Settings, tmp_path / "c.yml", Notifier.from_environment({}))
    with pytest.raises(typer.Exit) as left:
        reload.restarted(before, reloading.Checked(Settings(), before), lambda event: None)
    hangs.set()
    assert (left.value.exit_code, dropped) == (RESTART, ["journal"])


def test_where_the_new_alarm_cannot_be_made_the_one_of_before_is_made_again(monkeypatch, tmp_path):
    good, bad = Settings(trace=tmp_path / "good"), Settings(trace=tmp_path / "bad")
    made: list[Any] = []

    def make(settings, **more):
        made.append(settings)
        if settings.trace == bad.trace:
            raise OptionError("no such loudspeaker")
        return SimpleNamespace(settings=settings, alerting=None, **more)

    monkeypatch.setattr("edge.alarm.Alarm", make)
    dropped: list[str] = []
    before: Any = SimpleNamespace(
        settings=good, classifier="old", condition=object(), drop=lambda: dropped.append("journal")
    )
    new: Any = reloading.Checked(bad, "new")  # type: ignore[arg-type]
    reload = reloading.Reload(Settings, tmp_path / "c.yml", Notifier.from_environment({}))
    after: Any = reload.restarted(before, new, lambda event: None)
    assert [each.trace for each in made] == [bad.trace, good.trace]
    assert (after.classifier, after.settings.waits) == ("old", True)
    assert "no such loudspeaker" in (reload.problem() or "")
    before.settings = bad  # nor can that one by now
    with pytest.raises(typer.Exit) as left:
        reload.restarted(before, new, lambda event: None)
    assert left.value.exit_code == RESTART
    assert dropped == ["journal"]  # which the next process opens
