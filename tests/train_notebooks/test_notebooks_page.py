"""The page to try a model, served by Voilà and used in a browser: upload, camera, garbage; nothing from the network."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("voila")
pytest.importorskip("anywidget")
pytest.importorskip("playwright")

from edge.detect.classifier import BUNDLED, ENVIRONMENT
from tests.helpers.drawn import zone_plate
from tests.helpers.notebook_world import NOTEBOOKS, ROOT, voila

pytestmark = pytest.mark.slow
BROWSER = pytest.mark.needs_tool("chromium")
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
ANSWER = ".bear-alarm-answer"
WAIT_MS = 120_000
DEMO = ROOT / "edge" / "demo"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page as a user serves it, in chromium with a fake camera; what it fetches from elsewhere fails the test."""
    from playwright.sync_api import sync_playwright

    folder = tmp_path_factory.mktemp("served")
    for name in ("try.ipynb", "voila.json"):
        shutil.copy(NOTEBOOKS / name, folder)
    faults: list[str] = []
    with voila(folder / "try.ipynb", **{ENVIRONMENT: str(BUNDLED)}) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", *CAMERA])
        opened = browser.new_page()
        opened.set_default_timeout(WAIT_MS)
        opened.on("pageerror", lambda error: faults.append(str(error)))
        # Voilà's template names style sheets of a CDN; the policy in voila.json keeps the browser from asking for them.
        opened.on(
            "response", lambda got: faults.extend([got.url] * (not got.url.startswith((address, "data:", "blob:"))))
        )
        opened.on("requestfailed", lambda lost: faults.extend([lost.url] * (lost.failure != "csp")))
        opened.goto(address)
        opened.get_by_role("button", name="Upload a picture").wait_for()
        yield opened
        browser.close()
    assert faults == []


@pytest.fixture
def upload(page: Any, tmp_path: Path) -> Callable[[str, bytes], str]:
    """Give the page a file through its button; returns its answer."""

    def give(name: str, data: bytes) -> str:
        (tmp_path / name).write_bytes(data)
        with page.expect_file_chooser() as asked:
            page.get_by_role("button", name="Upload a picture").click()
        return after(page, lambda: asked.value.set_files(tmp_path / name))

    return give


def after(page: Any, act: Callable[[], object]) -> str:
    """The page's answer to an act, once the one before has gone."""
    page.evaluate(f"document.querySelectorAll('{ANSWER}').forEach(each => each.remove())")
    act()
    page.locator(ANSWER).wait_for()
    return str(page.locator(ANSWER).inner_text())


def coded(picture: np.ndarray, suffix: str) -> bytes:
    """A picture file's bytes."""
    return cv2.imencode(suffix, picture)[1].tobytes()


def demo_bear() -> np.ndarray:
    """The demo clip's frame two seconds after the bear came into full view."""
    truth = json.loads((DEMO / "demo.json").read_text())
    clip = cv2.VideoCapture(str(DEMO / "demo.mp4"))
    clip.set(cv2.CAP_PROP_POS_FRAMES, round((truth["bear_fully_in_view_s"] + 2) * truth["fps"]))
    return np.asarray(clip.read()[1])


@BROWSER
def test_an_uploaded_bear_is_named_with_all_probabilities_and_what_the_alarm_would_do(upload: Any, page: Any) -> None:
    from playwright.sync_api import expect

    printed = upload("bear.jpg", coded(demo_bear(), ".jpg"))
    assert "I see: brown bear." in printed
    assert "The alarm would count this as a bear" in printed
    assert "unlike my training data" not in printed
    assert page.locator(f"{ANSWER} tr").count() == 5
    shares = [float(share) for share in re.findall(r"([\d.]+) %$", printed, re.MULTILINE)]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    expect(page.locator(f"{ANSWER} img")).to_have_js_property("naturalWidth", 640, timeout=WAIT_MS)  # once loaded


@BROWSER
def test_a_test_pattern_is_reported_as_unlike_the_training_data(upload: Any) -> None:
    printed = upload("pattern.png", coded(zone_plate(), ".png"))
    assert "This picture is unlike my training data" in printed
    assert "would not count this as a bear" in printed


@BROWSER
@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("notes.txt", b"no picture <b>at all</b>", "notes.txt: this is no picture that I can read"),
        ("empty.jpg", b"", "empty.jpg: this is no picture that I can read (0 bytes)"),
        (
            "cut.jpg",
            coded(np.zeros((200, 200, 3), np.uint8), ".jpg")[:-300],
            "cut.jpg: this is no picture that I can read",
        ),
        ("film.mov", bytes(40_000_000), "film.mov: 40 MB is too large"),
    ],
)
def test_garbage_gets_one_sentence(upload: Any, name: str, data: bytes, words: str) -> None:
    printed = upload(name, data)
    assert printed.startswith(words)
    assert "\n" not in printed.strip()


@BROWSER
def test_a_picture_larger_than_a_jupyter_server_lets_through_comes_in_parts(upload: Any) -> None:
    noise = coded(np.random.default_rng(0).integers(0, 255, (2000, 2000, 3), np.uint8), ".bmp")
    assert len(noise) > 10 << 20
    assert "I see:" in upload("large.bmp", noise)


@BROWSER
def test_a_shot_from_the_camera_is_judged_and_the_camera_can_be_closed(page: Any) -> None:
    page.get_by_role("button", name="Open the camera").click()
    take = page.get_by_role("button", name="Take a picture")
    take.wait_for()
    page.wait_for_function("document.querySelector('video').videoWidth > 0")
    printed = after(page, take.click)
    assert "I see: no bear." in printed
    assert page.locator(f"{ANSWER} tr").count() == 5
    page.get_by_role("button", name="Close the camera").click()
    assert page.locator("video").is_hidden()
    assert page.evaluate("document.querySelector('video').srcObject") is None
