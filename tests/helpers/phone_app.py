"""The whole web app in a browser, as its user has it: the shipped bundle, a camera fed from files, a page to tap on."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.detect.classifier import BUNDLED
from edge.phone.folder import write
from edge.schema import Picture
from tests.helpers.made_once import made_once
from tests.helpers.phone_camera import FPS, camera_flags, clip_frames, write_camera
from tests.helpers.phone_web import Site, chromium

# What the page asks of the browser is counted; `lost` is the error with which the camera does not open.
HOOK = """(() => {
  if (!navigator.mediaDevices) return;
  window.asked = { opened: [], sounds: 0, locks: [], lost: null };
  const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (want) => {
    if (asked.lost) throw new DOMException("as the test wants it", asked.lost);
    const stream = await open(want);
    asked.opened.push(Date.now());
    return (asked.stream = stream);
  };
  const start = OscillatorNode.prototype.start;
  OscillatorNode.prototype.start = function (...when) { asked.sounds += 1; return start.apply(this, when); };
  const request = navigator.wakeLock.request.bind(navigator.wakeLock);
  navigator.wakeLock.request = async (...kind) => {
    const lock = await request(...kind);
    asked.locks.push(lock);
    return lock;
  };
})()"""
STORED = """(table) => new Promise((done, failed) => {
  const opening = indexedDB.open("bear-alarm");
  opening.onerror = () => failed(opening.error);
  opening.onsuccess = () => {
    const store = opening.result.transaction(table).objectStore(table);
    const [keys, values] = [store.getAllKeys(), store.getAll()];
    values.onsuccess = () => {
      opening.result.close();
      done(values.result.map((value, index) => [keys.result[index], value]));
    };
  };
})"""
GRANTED = ["camera", "screen-wake-lock"]  # granting one permission refuses all others
EMPTY_S = 1.8  # of the demo, before the fox comes
LEAD_S = 14.0  # of the empty meadow, before the demo begins: for the start check


def app_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder that `bear-alarm phone` writes; tests change copies only."""
    return made_once(factory, "phone-app", lambda folder: write(folder, BUNDLED))


def camera(factory: pytest.TempPathFactory, what: str) -> Path:
    """Return a camera's file for chromium: the "demo", the demo's "meadow", both, or it "frozen" or "black"."""

    def make(folder: Path) -> None:
        empty = list(itertools.islice(clip_frames(), int(EMPTY_S * FPS)))
        meadow = empty + empty[-2:0:-1]  # to and fro: no jump where it starts again
        lead = list(itertools.islice(itertools.cycle(meadow), round(LEAD_S * FPS)))
        shows: dict[str, Iterable[Picture]] = {
            "demo": clip_frames(),
            "meadow, then the demo": itertools.chain(reversed(lead), clip_frames()),
            "meadow": meadow,
            "frozen": empty[:1] * 2,
            "black": [np.zeros_like(empty[0])] * 2,
        }
        write_camera(folder / "camera.y4m", shows[what])

    return made_once(factory, f"phone-camera-{what}".replace(" ", "-"), make) / "camera.y4m"


class Phone:
    """One page with the app."""

    def __init__(self, page: Any, site: Site) -> None:
        self.page, self.site = page, site
        page.goto(site.address)

    def check(self) -> None:
        """Do the start check, until the watch could begin."""
        self.page.click("#check-start")
        self.page.get_by_role("button", name="Yes").click()
        self.page.locator("#start-watching:enabled").wait_for(timeout=90_000)

    def watch(self) -> None:
        """Do the start check, and watch."""
        self.check()
        self.page.click("#start-watching")
        until(lambda: self.state != "starting", 20)

    def go(self, screen: str) -> None:
        """Go to a screen by its button."""
        self.page.click(f"nav button[data-go={screen}]")

    def row(self, title: str) -> Any:
        """Return a row of the start check."""
        return self.page.locator("#rows li", has_text=f"{title}:")

    def try_again(self) -> None:
        """Tap on "Try again", of which there is one."""
        self.page.get_by_role("button", name="Try again").click()

    @property
    def state(self) -> str:
        return str(self.page.get_attribute("#state", "data-state"))

    @property
    def problems(self) -> str:
        return str(self.page.inner_text("#problems"))

    def asked(self, what: str) -> Any:
        """Return what the page asked of the browser: `opened`, `sounds`, `locks`; see HOOK."""
        return self.page.evaluate(f"asked.{what}")

    @property
    def clip_s(self) -> float:
        """Return the camera's place in its file, in seconds: chromium begins with it when the stream opens."""
        return float(time.time() - self.asked("opened.at(-1)") / 1000)

    def stored(self, table: str) -> dict[str, Any]:
        """Return a table of the journal."""
        return dict(self.page.evaluate(STORED, table))

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of a kind in the journal, the oldest first."""
        found = [event for kept in self.stored("incidents").values() for event in kept["events"]]
        return sorted((each for each in found if each["kind"] == kind), key=lambda each: str(each["captured_at"]))

    def words(self, kind: str) -> list[str]:
        """Return the details of those events, each after its type."""
        return [f"{each['type']}: {each['label'] or ''} {each['detail']}" for each in self.events(kind)]


def until(true: Callable[[], bool], within_s: float) -> float:
    """Wait until something is true; return how long that took, in seconds."""
    since = time.monotonic()
    while not true():
        assert time.monotonic() - since < within_s, f"not so within {within_s} s"
        time.sleep(0.05)
    return time.monotonic() - since


@contextmanager
def phone(
    app: Path, shows: Path | None, *, allowed: bool = True, script: Path | None = None, **context: Any
) -> Iterator[Phone]:
    """Open the app from a plain static host on a phone whose camera shows a file; None: it has no camera.

    ``script`` runs in the page before its own. The camera plays in real time: such tests are marked ``alone``.
    """
    site = Site(app)
    flags = [] if shows is None else [flag for flag in camera_flags(shows) if "fake-ui" not in flag]
    try:
        with chromium(*flags) as browser:
            given = {"viewport": {"width": 390, "height": 844}, "locale": "en-GB"} | context
            opened = browser.new_context(**given, permissions=GRANTED if allowed else [])
            opened.add_init_script(HOOK)
            if script:
                opened.add_init_script(path=script)
            yield Phone(opened.new_page(), site)
            opened.close()
    finally:
        site.close()
