"""Take pictures of the page of a device, with the demo as its camera, for docs/."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.page.accounts import Accounts
from edge.page.guard import COOKIE
from edge.schema import Picture
from tests.helpers.fake_camera import LiveYard, watching
from tests.helpers.page_world import OWNER
from tests.helpers.phone_camera import clip_frames
from tests.helpers.phone_web import chromium

DESK_WH, PHONE_WH = (1200, 800), (390, 844)
GAP_PX, PAPER = 16, 160
WAIT_S = 120.0
CONFIG = """\
cameras:
  meadow:
    source: {url}
    zones:
      path: 0,0.45 0.7,0.45 0.7,1 0,1
record:
  full_frame: yes
page:
  listen: 127.0.0.1:0
trace: trace.bin
state: state
"""


class DemoCamera(LiveYard):
    """A camera that shows the bundled clip again and again."""

    def __init__(self) -> None:
        self.frames = list(clip_frames())
        super().__init__()

    def picture(self, number: int) -> Picture:
        """Return the next frame; the clip has 10 a second, and this sends 20."""
        return self.frames[number // 2 % len(self.frames)]


@contextmanager
def watched() -> Iterator[tuple[str, str, Any]]:
    """Watch the demo as a camera; gives the page's address, the owner's cookie, and the browser."""
    with tempfile.TemporaryDirectory() as folder, DemoCamera() as camera, chromium() as browser:
        home = Path(folder)
        (home / "bear-alarm.yml").write_text(CONFIG.format(url=camera.url))
        with watching(cwd=home) as watch:
            address = re.search(r"http://127\.0\.0\.1:\d+", watch.until("the page is on"))
            assert address
            accounts = Accounts(home / "state")
            cookie = accounts.claim(accounts.new_claim(), OWNER)
            yield address[0], cookie, browser
            os.kill(watch.process.pid, signal.SIGTERM)


def shot(browser: Any, address: str, cookie: str, size_wh: tuple[int, int], scheme: str, ready: str) -> Picture:
    """Return what a page shows once ``ready``, a selector, is there."""
    width, height = size_wh
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB")
    context.add_cookies([{"name": COOKIE, "value": cookie, "domain": "127.0.0.1", "path": "/"}])
    page = context.new_page()
    page.goto(address)
    page.locator(ready).first.wait_for(timeout=WAIT_S * 1000)
    time.sleep(1.5)  # pictures are there
    data = page.screenshot()
    context.close()
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


def beside(pictures: list[Picture]) -> Picture:
    """Return pictures side by side on grey paper."""
    height = max(each.shape[0] for each in pictures)
    parts: list[Picture] = []
    for each in pictures:
        padded = np.full((height, each.shape[1] + GAP_PX, 3), PAPER, np.uint8)
        padded[: each.shape[0], GAP_PX:] = each
        parts.append(padded)
    return np.hstack([*parts, np.full((height, GAP_PX, 3), PAPER, np.uint8)])


def write(docs: Path) -> None:
    """Write docs/page.jpg (live pictures, light and dark) and docs/page-review.jpg (review, zones)."""
    with watched() as (address, cookie, browser):
        live = shot(browser, f"{address}/", cookie, DESK_WH, "light", "#bear .alarm:visible")
        phone = shot(browser, f"{address}/", cookie, PHONE_WH, "dark", "img")
        events = shot(browser, f"{address}/events", cookie, DESK_WH, "light", "main a[href^='/events/']")
        review = shot(browser, f"{address}/review", cookie, PHONE_WH, "light", "img")
        zones = shot(browser, f"{address}/zones/meadow", cookie, DESK_WH, "dark", "svg")
    for name, pictures in (("page.jpg", [live, phone]), ("page-review.jpg", [review, events, zones])):
        whole = beside(pictures)
        wide = 1200
        size = (wide, round(whole.shape[0] * wide / whole.shape[1]))
        small = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(docs / name), small, [cv2.IMWRITE_JPEG_QUALITY, 82])
