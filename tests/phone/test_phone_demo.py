"""The bundled clip, frame by frame as PNG, through the worker in chromium: the same events as Python's in float."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest

from edge.alert.events import EventPublisher
from edge.camera import open_source
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.schema import Event
from edge.watch import Watcher
from tests.helpers.phone_web import MODULES, WORKER_PAGE, build, chromium, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs_tool("chromium"),
    pytest.mark.skipif(not MODULES.is_dir(), reason="run `npm ci` in edge/phone/web first"),
]
FPS = 10
MOST_DP = 0.03  # of one score: see test_phone_classifier.py


def test_the_clip_gives_the_same_events(tmp_path: Path) -> None:
    build(tmp_path, "src/worker.ts")
    shutil.copy(BUNDLED, tmp_path / "bear.onnx")
    told, times = python_events(tmp_path)
    with served(tmp_path) as address, chromium() as browser:
        page = browser.new_page()
        page.goto(f"{address}blank.html")
        page.add_script_tag(content=WORKER_PAGE)
        digest = hashlib.sha256(BUNDLED.read_bytes()).hexdigest()
        ready = page.evaluate("sha => start('bear.onnx', sha, { live: false, camera: 'demo' })", digest)
        assert ready["type"] == "ready", ready
        found = [event for index, time in enumerate(times) for event in looked(page, index, time)]
        page.evaluate("worker.postMessage({ type: 'close', why: 'over', wall: 0 })")
        found += [each["event"] for each in page.evaluate("told('closed')")["events"]]
    assert [(event["kind"], event["type"]) for event in found] == [(event.kind, event.type) for event in told]
    assert (told[0].kind, told[0].type) == ("bear", "new")
    for mine, theirs in zip(found, told, strict=True):
        assert theirs.media_time_s is not None
        assert mine["media_time_s"] == pytest.approx(theirs.media_time_s, abs=1.01 / FPS)  # one scored frame
        assert mine["label"] == theirs.label
        assert mine["model"] == theirs.model
        assert mine["escalated"] == theirs.escalated
        assert 0 < mine["latency_ms"] < 60_000
        if theirs is told[0] or mine["media_time_s"] == theirs.media_time_s:  # and the alarm in any case
            assert mine["box_xywh"] == pytest.approx(theirs.box_xywh, abs=0.003)  # half a pixel of the small picture
            assert mine["score"] == pytest.approx(theirs.score, abs=MOST_DP)
            assert mine["top_score"] == pytest.approx(theirs.top_score, abs=MOST_DP)


def python_events(folder: Path) -> tuple[list[Event], list[float]]:
    """Python's events of the clip, and the times of its frames, which are written as PNG."""
    events, times = list[Event](), list[float]()
    classifier = Classifier(BUNDLED, in_float=True)
    rule = Rule.from_card(classifier.card)
    Watcher(classifier, rule, EventPublisher([events.append], model=classifier.name))(open_source("demo", fps=FPS))
    for frame in open_source("demo", fps=FPS):
        fast = [cv2.IMWRITE_PNG_COMPRESSION, 1]
        cv2.imwrite(str(folder / f"{len(times)}.png"), frame.image, fast)
        times.append(frame.time)
    return events, times


def looked(page: Any, index: int, time: float) -> list[dict[str, Any]]:
    """The events of one frame."""
    answer = page.evaluate("([at, time]) => frame(at, time)", [f"{index}.png", time])
    assert answer["type"] == "looked", answer
    return [each["event"] for each in answer["events"]]
