"""Nothing is kept of a frame: the web app's worker watches 3,000 of them, and holds no more than after 500.

With the tiny model, so that it takes a minute or two; `tests/proofs/prove_phone.py` does it with the one that ships.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from tests.helpers.phone_host import EAGER, FRAMES, held, hosted, start_worker, write_app, write_frames
from tests.helpers.phone_web import chromium
from tests.helpers.tiny import BEAR_COLOUR, tiny_card, write_tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.needs_tool("chromium")]
WARM, END = 500, 3000  # frames
STEP_S = 0.4  # from bear to bear two minutes pass: long enough for a new alarm
BEAR = range(100, 160)  # in these frames of the demo something red walks, which is the tiny model's bear
SCRIPT_MB = 3  # compiled code grows on for a while; a frame that is kept would be 0.9 MB
PROCESS_MB = 150  # it sways by 50 as the browser likes; a frame's bitmap that is not closed would make it 2,000


def paint_bear(folder: Path) -> None:
    """Let something red walk through the demo."""
    for number in BEAR:
        path = str(folder / FRAMES / f"{number:03}.jpg")
        image = cv2.imread(path)
        assert image is not None
        left = 4 * (number - BEAR.start)
        cv2.rectangle(image, (left, 150), (left + 110, 240), BEAR_COLOUR, -1)
        cv2.imwrite(path, image)


def test_3000_frames_of_the_demo(tmp_path: Path):
    folder = write_app(tmp_path / "app", write_tiny_model(tmp_path / "tiny.onnx", tiny_card()))
    write_frames(folder, width=640)
    paint_bear(folder)
    with hosted(folder) as host, chromium(EAGER) as browser:
        page = browser.new_page()
        page.set_default_timeout(0)
        ready = start_worker(page, host, folder, live=True)
        assert ready["type"] == "ready", ready
        page.evaluate("([from, to, step]) => feed(from, to, step)", [0, WARM, STEP_S])
        warm = held(browser, page)
        alarms = page.evaluate("([from, to, step]) => feed(from, to, step)", [WARM, END, STEP_S])
        end = held(browser, page)
    assert alarms >= 3, "the bear came again, with pictures"
    assert end.script_mb - warm.script_mb <= SCRIPT_MB, (warm, end)
    assert end.process_mb - warm.process_mb <= PROCESS_MB, (warm, end)
    assert (end.nodes, end.listeners) == (warm.nodes, warm.listeners)
