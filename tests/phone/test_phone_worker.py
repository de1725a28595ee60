"""The worker of the web app in chromium, spoken to as the page does (edge/phone/web/src/protocol.ts)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.schema import Event
from tests.helpers.phone_web import ISOLATED, MODULES, WORKER_PAGE, build, chromium, served
from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, WEIGHTS, older_card, tiny_card, write_tiny_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs_tool("chromium"),
    pytest.mark.skipif(not MODULES.is_dir(), reason="run `npm ci` in edge/phone/web first"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The worker, models that work and that do not, and two pictures."""
    made = tmp_path_factory.mktemp("worker")
    build(made, "src/worker.ts")
    write_tiny_model(made / "tiny.onnx", tiny_card())
    write_tiny_model(made / "no-card.onnx", None)
    write_tiny_model(made / "older.onnx", older_card())
    write_tiny_model(made / "wrong.onnx", tiny_card(), weights=WEIGHTS[::-1])
    (made / "page.onnx").write_text("<!DOCTYPE html><title>Not found</title>")
    dice = np.random.default_rng(1)
    for name, colour in (("bear", BEAR_COLOUR), ("meadow", NO_BEAR_COLOUR)):
        noise = dice.integers(-15, 15, (18, 32, 3)).repeat(20, 0).repeat(20, 1)  # something to be made out
        cv2.imwrite(str(made / f"{name}.png"), np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))
    return made


@pytest.fixture(scope="module", params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> int:
    """As many as the page may have."""
    return int(request.param)


@pytest.fixture(scope="module")
def page(folder: Path, threads: int) -> Iterator[Any]:
    """A page that can start the worker; with two threads where the server isolates it."""
    with served(folder, ISOLATED if threads > 1 else {}) as address, chromium() as browser:
        opened = browser.new_page()
        opened.set_default_timeout(60_000)
        opened.goto(f"{address}blank.html")
        opened.add_script_tag(content=WORKER_PAGE)
        yield opened


def digest(folder: Path, name: str) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256((folder / name).read_bytes()).hexdigest()


def start(page: Any, folder: Path, name: str = "tiny.onnx", **more: Any) -> Any:
    """Start the worker with a model; its answer."""
    return page.evaluate("([name, sha, more]) => start(name, sha, more)", [name, digest(folder, name), more])


def test_ready_says_what_runs(page: Any, folder: Path) -> None:
    ready = start(page, folder, threads=2)
    card = tiny_card()
    assert ready["type"] == "ready", ready
    assert ready["model"] == f"tiny@{digest(folder, 'tiny.onnx')[:12]}"
    assert ready["threshold"] == card.thresholds["crop"].value
    assert ready["notice"] == card.notice
    assert start(page, folder, settings={"threshold": 0.9, "zones": []})["threshold"] == 0.9


@pytest.mark.parametrize(
    ("name", "failure", "words"),
    [
        ("no-card.onnx", "model-card", "no bear-alarm card"),
        ("older.onnx", "model-card", "card_version"),
        ("wrong.onnx", "model-wrong", "golden vectors differ"),
        ("page.onnx", "model-corrupt", "cut off"),
    ],
)
def test_a_model_that_cannot_be_used(page: Any, folder: Path, name: str, failure: str, words: str) -> None:
    failed = start(page, folder, name)
    assert (failed["type"], failed["failure"]) == ("failed", failure)
    assert words in failed["detail"]


def test_a_model_that_is_missing_or_damaged(page: Any, folder: Path) -> None:
    failed = page.evaluate("start('none.onnx', '0'.repeat(64))")
    assert (failed["failure"], failed["detail"]) == ("model-missing", "none.onnx: status 404")
    failed = page.evaluate("start('http://127.0.0.1:9/bear.onnx', '0'.repeat(64))")  # no connection
    assert failed["failure"] == "model-missing"
    failed = page.evaluate("start('tiny.onnx', '0'.repeat(64))")
    assert failed["failure"] == "model-corrupt"
    assert "SHA-256" in failed["detail"]


def test_a_bear_alarms_and_its_pictures_follow(page: Any, folder: Path) -> None:
    start(page, folder)
    answers = [page.evaluate("time => frame('meadow.png', time)", time / 10) for time in range(3)]
    assert [(each["state"], each["events"]) for each in answers] == [("watching", [])] * 3
    # The light jumps and everything is a bear: a scan at once, and in every frame while it moves.
    events: list[Any] = []
    time = 1.0
    while not events and time < 20:
        looked = page.evaluate("time => frame('bear.png', time)", time)
        assert looked["type"] == "looked", looked
        events, time = looked["events"], time + 0.5
    assert looked["state"] == "bear"
    assert [(each["full"], each["crop"]) for each in events] == [(None, None)] * len(events)
    raw = events[0]["event"]
    event = Event(**{**raw, "box_xywh": tuple(raw["box_xywh"]), "zones": tuple(raw["zones"])})
    assert (event.kind, event.type, event.camera, event.seq, event.label) == ("bear", "new", "phone", 1, "brown_bear")
    assert event.alarms
    kept = page.evaluate(
        """async () => {
          const { event, full, crop, cropNote } = (await told("published")).events[0];
          const sizes = await Promise.all([full, crop].map(async (each) => {
            const bitmap = await createImageBitmap(each);
            return [each.type, bitmap.width, bitmap.height];
          }));
          return { seq: event.seq, id: event.id, sizes, cropNote };
        }"""
    )
    assert (kept["seq"], kept["id"]) == (event.seq, event.id)
    assert kept["sizes"][0] == ["image/jpeg", 640, 360]
    assert kept["sizes"][1][0] == "image/jpeg"
    assert kept["cropNote"]["label"] == "brown_bear"
    page.evaluate("worker.postMessage({ type: 'close', why: 'watching was stopped', wall: 1.7e12 })")
    closed = page.evaluate("told('closed')")
    assert [(each["event"]["type"], each["event"]["detail"]) for each in closed["events"]] == [
        ("end", "watching was stopped")
    ]


def test_a_picture_that_cannot_be_made_stops_nothing(page: Any, folder: Path) -> None:
    start(page, folder)
    page.workers[-1].evaluate(
        "() => { OffscreenCanvas.prototype.convertToBlob = () => Promise.reject(new Error('no memory')); }"
    )
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.evaluate("frame('meadow.png', 0)")
    time, events = 1.0, list[Any]()
    while not events and time < 20:
        looked = page.evaluate("time => frame('bear.png', time)", time)
        events, time = looked["events"], time + 0.5
    assert events[0]["event"]["type"] == "new"
    [kept] = page.evaluate("told('published', 'failed')")["events"]
    assert kept["event"] == events[0]["event"]
    assert (kept["full"], kept["crop"], kept["cropNote"]) == (None, None, None)
    assert page.evaluate("time => frame('bear.png', time)", time)["state"] == "bear", "the detector goes on"
    assert any("a picture of an event is lost" in each for each in said)


def test_a_camera_that_is_gone_is_an_event(page: Any, folder: Path) -> None:
    start(page, folder)
    page.evaluate("frame('meadow.png', 0)")
    page.evaluate(
        """for (const time of [3, 4, 5, 6]) {
          worker.postMessage({ type: 'fault', fault: { kind: 'gone', value: time }, time, wall: 1.7e12 + 1000 * time });
        }"""
    )
    event = page.evaluate("told('published')")["events"][0]["event"]
    assert (event["kind"], event["type"], event["label"]) == ("camera", "new", "gone")
    assert event["detail"].startswith("no frame for 6 s;")  # 3 s of grace
    looked = [page.evaluate("time => frame('bear.png', time, time === 7)", time) for time in (7, 8, 9, 10, 11)]
    ends = [each["event"] for answer in looked for each in answer["events"] if each["event"]["kind"] == "camera"]
    assert [(each["type"], each["id"]) for each in ends] == [("end", event["id"])]


def test_the_very_same_picture_is_a_frozen_camera(page: Any, folder: Path) -> None:
    start(page, folder)
    looked = [page.evaluate("time => frame('meadow.png', time)", time) for time in range(12)]
    kinds = [[fault["kind"] for fault in each["faults"]] for each in looked]
    assert kinds[:8] == [[]] * 8
    assert kinds[-1] == ["frozen"]


def test_an_error_in_a_frame_is_reported_and_the_next_is_looked_at(page: Any, folder: Path) -> None:
    start(page, folder)
    failed = page.evaluate(
        """async () => {
          worker.postMessage({ type: "frame", picture: {}, time: 1, wall: 0, discontinuity: false });
          return told("looked", "failed");
        }"""
    )
    assert (failed["type"], failed["failure"]) == ("failed", "runtime")
    assert page.evaluate("frame('meadow.png', 2)")["type"] == "looked"


def test_a_frame_before_a_start_that_succeeded(page: Any) -> None:
    page.evaluate("start('none.onnx', '0'.repeat(64))")
    failed = page.evaluate("frame('meadow.png', 0)")
    assert (failed["type"], failed["failure"]) == ("failed", "runtime")
    assert "before a start" in failed["detail"]
