"""Take pictures of the web app for phones, with the demo as its camera, for docs/."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.schema import Picture
from tests.helpers.phone_camera import FPS, camera_flags, write_camera
from tests.helpers.phone_web import Site, chromium

STATES = ("watching", "maybe", "bear")
SCHEMES = ("light", "dark")
PORTRAIT_WH, LANDSCAPE_WH = (390, 844), (844, 390)
GAP_PX = 16
PAPER = 160  # grey, on which light and dark pages both have an edge
START_S, LOOP_S = 120, 60  # that the detector may take to start, and a state to come
SETTLED_S = 4  # until the figures have values, and the whole bear is in the picture
SLOW_FPS = 4
# Headless chromium has no screen to keep on.
LOCK = "navigator.wakeLock.request = async () => Object.assign(new EventTarget(), { release: async () => {} });"
# The flash lies over the picture two fifths of the time; the shots are of the time between.
BETWEEN = "document.getAnimations().forEach((each) => { each.pause(); each.currentTime = 700; })"


def slower(camera: Path) -> Path:
    """Let the camera play in slow motion: boxes lag behind the animals less then, on a busy machine."""
    data = camera.read_bytes()
    camera.write_bytes(data.replace(b"F%d:1" % FPS, b"F%d:1" % SLOW_FPS, 1))
    return camera


@contextmanager
def opened(browser: Any, address: str, size_wh: tuple[int, int], scheme: str) -> Iterator[Any]:
    """Open the app and start its check; gives the page once the detector is ready and it asks about the siren."""
    width, height = size_wh
    context = browser.new_context(
        viewport={"width": width, "height": height}, permissions=["camera"], locale="en-GB", color_scheme=scheme
    )
    context.add_init_script(LOCK)
    page = context.new_page()
    page.goto(address)
    page.click("#check-start")
    page.get_by_role("button", name="Yes").wait_for(timeout=START_S * 1000)
    page.locator("#rows li", has_text="Ready, also without signal").wait_for(timeout=START_S * 1000)
    yield page
    context.close()


def shot(page: Any) -> Picture:
    """Return what the page shows."""
    page.evaluate(BETWEEN)
    picture = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return np.asarray(picture, np.uint8)


def watched(page: Any) -> dict[str, Picture]:
    """Start the watch; return a picture of each state."""
    page.get_by_role("button", name="Yes").click()
    page.locator("#start-watching:enabled").click()
    page.locator('#state[data-state="watching"]').wait_for(timeout=START_S * 1000)
    page.wait_for_timeout(SETTLED_S * 1000)  # the figures have values by then
    pictures: dict[str, Picture] = {}
    until = time.monotonic() + len(STATES) * LOOP_S
    while len(pictures) < len(STATES):
        assert time.monotonic() < until, f"only seen: {', '.join(pictures)}"
        state = page.get_attribute("#state", "data-state")
        if state in STATES and state not in pictures:
            if state == "bear":
                page.wait_for_timeout(SETTLED_S * 1000)  # the whole bear is in the picture by then
            picture = shot(page)
            if page.get_attribute("#state", "data-state") == state:
                pictures[state] = picture
        elif state == "bear":  # it came before it was unsure: once more
            page.click("#silence")
            page.locator('#state:not([data-state="bear"])').wait_for(timeout=LOOP_S * 1000)
        else:
            page.wait_for_timeout(20)
    return pictures


def events(page: Any) -> Picture:
    """Silence the siren and return a picture of the list of events."""
    if page.is_visible("#silence"):
        page.click("#silence")
    page.wait_for_timeout(1000 * SETTLED_S)
    page.click("nav button[data-go=events]")
    page.locator("#event-list img").first.wait_for()
    page.locator("#event-list select").first.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    return shot(page)


def joined(rows: Sequence[Sequence[Picture]]) -> Picture:
    """Return pictures of one size side by side, row below row."""
    height, width = rows[0][0].shape[:2]
    across, down = len(rows[0]), len(rows)
    sheet = np.full((down * (height + GAP_PX) + GAP_PX, across * (width + GAP_PX) + GAP_PX, 3), PAPER, np.uint8)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            top, left = GAP_PX + row * (height + GAP_PX), GAP_PX + column * (width + GAP_PX)
            sheet[top : top + height, left : left + width] = picture
    return sheet


def write(docs: Path, work: Path) -> None:
    """Write the pictures of the phone into ``docs``; ``work`` is an empty folder for what that takes."""
    subprocess.run([sys.executable, "-m", "edge", "phone", str(work / "app")], check=True, capture_output=True)
    site = Site(work / "app")
    shots: dict[tuple[tuple[int, int], str], dict[str, Picture]] = {}
    camera = slower(write_camera(work / "camera.y4m"))
    for size_wh in (PORTRAIT_WH, LANDSCAPE_WH):
        for scheme in SCHEMES:
            with chromium(*camera_flags(camera)) as browser, opened(browser, site.address, size_wh, scheme) as page:
                check = shot(page)
                pictures = shots[size_wh, scheme] = watched(page)
                pictures |= {"check": check, "events": events(page)}
    site.close()

    def save(name: str, rows: Sequence[Sequence[Picture]], quality: int) -> None:
        cv2.imwrite(str(docs / name), joined(rows), [cv2.IMWRITE_JPEG_QUALITY, quality])

    upright, lying = ({scheme: shots[size_wh, scheme] for scheme in SCHEMES} for size_wh in (PORTRAIT_WH, LANDSCAPE_WH))
    save("phone.jpg", [[upright["light"][state] for state in ("watching", "bear")]], 70)
    save("phone-portrait.jpg", [[upright[scheme][state] for state in STATES] for scheme in SCHEMES], 52)
    save("phone-landscape.jpg", [[lying[scheme][state] for scheme in SCHEMES] for state in STATES], 52)
    save("phone-events.jpg", [[upright["light"][screen] for screen in ("check", "events")]], 70)
