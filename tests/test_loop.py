"""The loop as people walk it: shadow, review on the page, import, train, export, compare, shadow again, promotion."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("fastai")
pytest.importorskip("onnxscript")

from edge.alarm import Alarm
from edge.config.load import load
from edge.page.accounts import Accounts
from edge.page.serving import PAGE, Serving
from edge.record import review_queue
from edge.record.review import Review, pass_on
from edge.record.run import Clock
from edge.schema import Event
from tests.helpers.command import Ran
from tests.helpers.command import bear_alarm as typed
from tests.helpers.fake_camera import soon
from tests.helpers.page_world import OWNER, Client, wait_for
from tests.helpers.review_units import frame
from train.notebooks.practice import FUR, ROCK, meadow, paint, practice_clip, practice_recipe

BEGIN = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)
JSON = {"Accept": "application/json"}


def bear_alarm(*words: object) -> Ran:
    """Run a command as a user does."""
    done = typed(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


class Site:
    """One camera of a config whose clip is played again each day, and the page of its alarm."""

    def __init__(self, folder: Path, name: str, model: Path, clip: Path) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.config = self.folder / "bear-alarm.yml"
        self.config.write_text(
            f"model: {model}\nstate: state\nbell: no\nrecord: {{path: evidence}}\npage: 127.0.0.1:0\n"
            f"cameras: {{meadow: {{source: {clip}, stage: shadow, threshold: 0.5}}}}\n"
        )
        self.now = BEGIN
        self.events: list[Event] = []

    @property
    def said(self) -> list[str]:
        """Return the notices."""
        return [event.detail or "" for event in self.events if event.kind == "notice"]

    @contextmanager
    def day(self, day: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Alarm]:
        """Watch the clip on a day; the alarm stays until the block ends."""
        self.now = BEGIN + timedelta(days=day)
        monkeypatch.setattr("edge.alarm.Clock", partial(Clock, wall=lambda: self.now))
        settings = load(self.config).settings
        alarm = Alarm(settings, terminal=self.events.append)
        try:
            assert alarm.rollout
            alarm.rollout.look()  # its stage begins before the first frame, however late the first tick is
            alarm.start()
            while alarm.alive:
                alarm.tick(time.monotonic())
                time.sleep(0.05)
            assert not alarm.failed
            yield alarm
        finally:
            alarm.stop_cameras()
            alarm.close(10.0)

    @contextmanager
    def page(self, alarm: Alarm) -> Iterator[Client]:
        """Serve the page; give a browser of its owner."""
        serving = Serving(lambda: alarm, self.config, lambda: lambda: None, lambda: "bear-alarm page claim")
        try:
            serving.follow()
            server: Any = serving.server(PAGE)
            wait_for(lambda: server.port)
            accounts = Accounts(self.folder / "state")
            if not (self.folder / "claimed").exists():
                accounts.claim(accounts.new_claim(), OWNER)
                (self.folder / "claimed").touch()
            cookie = accounts.log_in(OWNER, "test")
            with Client(server.address, cookie) as client:
                access = accounts.of_session(cookie)
                assert access
                client.csrf = access.csrf
                yield client
        finally:
            serving.close()

    def frames(self, count: int) -> None:
        """Keep so many random frames of the empty meadow, as the alarm does over weeks."""
        rng = np.random.default_rng(3)
        for number in range(count):
            empty = np.clip(meadow(rng, 640, 360), 0, 255).astype(np.uint8)
            frame(self.folder / "evidence", number, "meadow", empty, began=self.now)


def review(client: Client) -> Counter[str]:
    """Review all that waits on the page, as a person who looks at each picture; count the verdicts."""
    counts = Counter[str]()
    while unit := client.get("/review/next.json", headers=JSON).json()["unit"]:
        picture = cv2.imdecode(np.frombuffer(client.get(f"/review/{unit['id']}.jpg").content, np.uint8), 1)
        assert picture is not None
        furry = cv2.blur(picture, (9, 9)).astype(int)
        verdict = "confirmed" if (furry[..., 2] > furry[..., 1]).mean() > 0.01 else "wrong"
        answer = client.change("/review", {"unit": unit["id"], "verdict": verdict}, headers=JSON)
        assert answer.status_code == 200, answer.text
        counts[verdict] += 1
    return counts


def bears(site: Site) -> list[Event]:
    """Return the bears that a site's alarm has seen."""
    return [event for event in site.events if event.kind == "bear" and event.type == "new"]


@pytest.mark.slow
def test_from_shadow_to_a_new_model_in_shadow_and_its_promotion(
    exported_model: Path, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review_queue, "REFRESH_S", 0.0)
    clip = practice_clip(tmp_path / "bear.avi")
    old = Site(tmp_path, "old", exported_model / "bear.onnx", clip)

    # A week in shadow: the bear of each day is recorded, and nobody hears of it.
    for day in (0, 4, 8):
        with old.day(day, monkeypatch) as alarm:
            assert soon(lambda day=day: len(list((old.folder / "evidence").glob("*/*/clip.mp4"))) > day // 4, 60.0)
            if day == 8:
                old.frames(3)
                with old.page(alarm) as client:
                    assert review(client) == {"confirmed": 3, "wrong": 3}
                assert alarm.rollout
                alarm.rollout.look()
                stands = alarm.rollout.standing("meadow")
    assert [(event.stage, event.alarms) for event in bears(old)] == [("shadow", False)] * 3
    begins, *reminders = old.said
    assert begins.startswith("camera meadow begins in SHADOW")
    assert [words for words in reminders if "still in SHADOW" in words] == reminders != []
    assert (stands.tally.right, stands.tally.frames, stands.progress.ready) == (3, 3, False)
    assert [need.split(" reviewed")[0] for need in stands.progress.needs] == ["13 more alarms", "32 more random frames"]

    # The reviews become training pictures, and a new model.
    data, run, model = tmp_path / "data", tmp_path / "run", tmp_path / "new.onnx"
    bear_alarm("gather", "folder", trained_run / "pictures", "--out", data, "--licence", "own")
    imported = json.loads(bear_alarm("feedback", "import", old.folder / "evidence", "--into", data, "--json").stdout)
    assert imported["verdicts"] == {"confirmed": 3, "wrong": 3}
    bear_alarm("train", data, "--recipe", practice_recipe(tmp_path / "recipe.json"), "--out", run)
    bear_alarm("export", run, "--out", model, "--force")
    other = tmp_path / "other"
    rng = np.random.default_rng(42)
    for camera in range(3):
        for label, colour in (("brown_bear", FUR), ("no_bear", ROCK), ("no_bear", None)):
            for number in range(4):
                path = other / label / f"place-{camera}" / f"{label}-{colour is None}-{number}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), paint(rng, colour))
    compared = json.loads(bear_alarm("compare", exported_model / "bear.onnx", model, other, "--json").stdout)
    assert (compared["pictures"], len({compared["old"], compared["new"]})) == (36, 2)
    assert compared["why"]

    # It watches the same camera in shadow, beside the old one.
    new = Site(tmp_path, "new", model, clip)
    with new.day(9, monkeypatch) as alarm:
        assert alarm.rollout
        assert alarm.alerting
        assert alarm.alerting.journal
        assert soon(lambda: list((new.folder / "evidence").glob("*/*/clip.mp4")), 60.0)
        new.frames(35)
        for number in range(15):  # the days that follow
            event = alarm.run.event(
                "bear", "new", f"{number:032x}", "meadow", model=alarm.classifier.name, stage="shadow"
            )
            assert alarm.alerting.journal(event).durable
            alarm.rollout.look()
            assert not alarm.rollout.standing("meadow").progress.ready
            assert pass_on(new.folder / "state", [event.id], Review("confirmed", event.captured_at)) is None
        with new.page(alarm) as client:
            assert review(client) == {"confirmed": 1, "wrong": 35}
        alarm.rollout.look()
        assert alarm.rollout.standing("meadow").progress.ready
        assert alarm.rollout.standing("meadow").entry.stage == "shadow"
        assert soon(lambda: any("meadow has earned the stage supervised" in words for words in new.said))
        alarm.rollout.choose("meadow", "supervised", "anna")
    with new.day(10, monkeypatch):
        pass
    last = bears(new)[-1]
    assert (last.stage, last.alarms) == ("supervised", True)
