"""The web app for phones in headless chromium: what it costs beside Python, fetches, keeps, and whether it grows.

    python tests/proofs/prove_phone.py                 # the whole app watches for an hour
    python tests/proofs/prove_phone.py --minutes 5

Speed: crops, looks and whole frames by turns in one run, in Python and in two pages, one of a plain host (one thread)
and one of a host with COOP and COEP (two threads). It needs node, and `npm ci` in edge/phone/web. Wall time.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.alert.events import EventPublisher
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.frame_scan import FrameScanner
from edge.schema import Frame, Picture, Region
from edge.watch import Watcher
from tests.helpers import phone_web
from tests.helpers.phone_camera import FPS, camera_flags, clip_frames, write_camera
from tests.helpers.phone_host import (
    EAGER,
    FRAMES,
    Held,
    Host,
    contents,
    held,
    hosted,
    start_worker,
    write_app,
    write_frames,
)
from tests.helpers.phone_web import chromium

cv2.setNumThreads(1)
MB = 1_000_000
ROUNDS = 15
SIDES = (448, 384, 320)
BOX = (0.3, 0.3, 0.4, 0.4)
STARTS = 5
FED_STEP, FED_STEP_S = 500, 0.1
READINGS = 10
MODEL_READY = "#rows [data-row=model]:is([data-outcome=ok], [data-outcome=warn])"
BROTLI = """const zlib = require("zlib"), fs = require("fs");
const quality = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 11 } };
const sizes = process.argv.slice(1).map((path) => {
  const data = fs.readFileSync(path);
  return Math.min(data.length, zlib.brotliCompressSync(data, quality).length);
});
console.log(JSON.stringify(sizes));"""

BEGAN = datetime(2026, 12, 1, tzinfo=UTC)

Work = Callable[[], float]  # returns milliseconds


def timed(work: Callable[[], object]) -> float:
    """Milliseconds that something takes."""
    started = time.perf_counter()
    work()
    return 1000.0 * (time.perf_counter() - started)


def load() -> str:
    """Return the load of the whole machine."""
    return " ".join(f"{each:.1f}" for each in os.getloadavg())


def table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    """Print in Markdown."""
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
    print()


def figure(times: list[float]) -> str:
    """Minimum and median."""
    return f"{min(times):.1f}, {median(times):.1f}"


def python_work(classifier: Classifier, image: Picture, side: int | None) -> Work:
    """Works to time: a crop, and a look at each size."""
    if side is None:
        return lambda: timed(lambda: classifier.score(image, [Region(BOX, "motion")]))
    other = copy.copy(classifier)
    assert other.card.frame is not None
    other.card = replace(other.card, frame=replace(other.card.frame, sides=(side,)))
    scanner = FrameScanner(other)
    return lambda: timed(lambda: scanner(image))


def parts(folder: Path, hosts: dict[str, Host], pages: dict[str, Any]) -> None:
    """Print what a crop and a look cost, with the picture at hand."""
    image = next(iter(clip_frames()))
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))["file"]
    works: dict[tuple[str, str], Work] = {}
    things: dict[str, int | None] = {"a crop": None, **{f"a look, {side} px": side for side in SIDES}}
    for runtime, in_float in (("Python, int8", False), ("Python, float", True)):
        classifier = Classifier(BUNDLED, in_float=in_float)
        for thing, side in things.items():
            works[thing, runtime] = python_work(classifier, image, side)
    for number, (name, host) in enumerate(hosts.items()):
        page = pages[name]
        page.goto(host.address + "probe.html")
        page.evaluate("([model, threads]) => probe.load(model, threads)", [model, number + 1])
        for thing, side in things.items():
            works[thing, name] = partial(page.evaluate, "side => probe.took('picture.png', side)", side)
    took: dict[tuple[str, str], list[float]] = {key: [] for key in works}
    for turn in range(ROUNDS + 1):
        for key, each in works.items():
            milliseconds = each()
            if turn:  # the first one warms up
                took[key].append(milliseconds)
    runtimes = ["Python, int8", "Python, float", *hosts]
    head = ("ms, minimum and median", *runtimes, "plain host / Python in float")
    rows = [
        (
            thing,
            *(figure(took[thing, runtime]) for runtime in runtimes),
            f"{min(took[thing, runtimes[2]]) / min(took[thing, runtimes[1]]):.1f}",
        )
        for thing in things
    ]
    print(f"Of a 1280 x 720 picture, {ROUNDS} rounds; load {load()}\n")
    table(head, rows)


def frames(folder: Path, hosts: dict[str, Host], pages: dict[str, Any]) -> None:
    """Print what a whole frame of the demo costs: motion, crops, looks, decision, events."""
    for number, (name, host) in enumerate(hosts.items()):
        start_worker(pages[name], host, folder, live=False, threads=number + 1)
    classifier = Classifier(BUNDLED)
    looked = [0]

    def counting(image: Any) -> Any:
        looked[0] += 1
        return FrameScanner(classifier).beside_crops(image)

    told: list[Any] = []
    watcher = Watcher(classifier, Rule.from_card(classifier.card), EventPublisher([told.append]), scan=counting)
    took: dict[tuple[str, str], list[float]] = {}

    def each_frame() -> Iterator[Frame]:
        for number, image in enumerate(clip_frames()):
            frame = Frame(image, number / FPS, BEGAN, "demo", number)
            browsers = {
                name: page.evaluate("([number, time]) => look(number, time)", [number, frame.time])["tookMs"]
                for name, page in pages.items()
            }
            crops, looks = watcher.stats.crops, looked[0]
            started = time.perf_counter()
            yield frame
            mine = 1000.0 * (time.perf_counter() - started)
            crops, looks = watcher.stats.crops - crops, looked[0] - looks
            kind = f"{'a look' if looks else 'no look'}, {crops - looks if looks else crops} crops"
            for name, milliseconds in {"Python, int8": mine, **browsers}.items():
                took.setdefault((kind, name), []).append(milliseconds)

    watcher(each_frame())
    kinds = sorted({kind for kind, _ in took}, reverse=True)
    names = ["Python, int8", *pages]
    alarms = [page.evaluate("events") for page in pages.values()]
    mine = sum(event.type == "new" and event.kind == "bear" for event in told)
    print(
        f"Whole frames of the demo, with what Python did in them; load {load()}; alarms: {mine} in Python, {alarms}\n"
    )
    rows = [
        (kind, len(took[kind, names[0]]), *(figure(took[kind, name]) for name in names))
        for kind in kinds
        if len(took[kind, names[0]]) >= 3
    ]
    table(("ms, minimum and median", "frames", *names), rows)


def first_visit(folder: Path, camera: Path) -> None:
    """Print what a first visit fetches, what stays, and how fast the app is ready without signal."""
    with hosted(folder) as host, chromium(*camera_flags(camera)) as browser:
        context = browser.new_context()
        page = context.new_page()
        ready(page, host)
        sent = list(host.sent)
        stored = page.evaluate("navigator.storage.estimate()")["usage"]
        page.close()
        host.down = True
        starts = []
        for _ in range(STARTS):
            page = context.new_page()
            starts.append(timed(lambda: ready(page, host)) / 1000)  # noqa: B023
            page.wait_for_timeout(1000)
            again = page.evaluate("navigator.storage.estimate()")["usage"]
            page.close()
    asked = sorted({path or "index.html" for path, size in sent if size})
    answers = {path: each for path, each in contents(folder).items() if path in asked}
    kept = sum(len(each.data) for path, each in answers.items())
    requests = f"{len(sent)} requests; their headers are not counted, less than 1 kB each"
    rows: list[tuple[object, ...]] = [
        ("fetched, gzip as `--serve` sends it", f"{sum(size for _, size in sent) / MB:.2f} MB", "10 MB", requests),
        ("files kept", f"{kept / MB:.2f} MB", "22 MB", ""),
        (
            "chromium's own count, first visit; later",
            f"{stored / MB:.2f}; {again / MB:.2f} MB",
            "",
            "with compiled code",
        ),
        (
            "opened without signal, to ready: fastest; median",
            f"{min(starts):.2f}; {median(starts):.2f} s",
            "3 s",
            load(),
        ),
    ]
    brotli = brotli_bytes([folder / path for path in answers])
    if brotli is not None:
        rows.insert(1, ("the same files with brotli 11", f"{brotli / MB:.2f} MB", "8 MB", ""))
    table(("", "found", "limit", ""), rows)


def ready(page: Any, host: Host) -> None:
    """Open the app, tap "start the check", wait until the detector is ready."""
    page.goto(host.address)
    page.click("#check-start")
    page.locator(MODEL_READY).wait_for(timeout=120_000)


def brotli_bytes(files: list[Path]) -> int | None:
    """The bytes of all files with brotli 11, each by itself; None without node."""
    try:
        done = subprocess.run(
            ["node", "-e", BROTLI, "--", *map(str, files)], capture_output=True, text=True, check=True
        )
    except FileNotFoundError:
        return None
    return sum(json.loads(done.stdout))


def fed(folder: Path, frames: int) -> None:
    """Print what the worker holds while it is fed with the demo, again and again."""
    print("The worker, fed with the demo as fast as it goes\n")
    with hosted(folder) as host, chromium(EAGER) as browser:
        page = browser.new_page()
        page.set_default_timeout(0)
        start_worker(page, host, folder, live=True, threads=2)
        started = time.monotonic()

        def readings() -> Iterator[tuple[str, Held]]:
            for end in range(FED_STEP, frames + 1, FED_STEP):
                page.evaluate("([from, to, step]) => feed(from, to, step)", [end - FED_STEP, end, FED_STEP_S])
                yield f"{end} frames, {time.monotonic() - started:.0f} s", held(browser, page)

        memory(readings())


def whole(folder: Path, camera: Path, minutes: float) -> None:
    """Print what the whole app holds while it watches the demo through a fake camera."""
    print("The whole app\n")
    with hosted(folder) as host, chromium(EAGER, *camera_flags(camera)) as browser:
        page = browser.new_context(permissions=["camera"], locale="en-GB").new_page()
        ready(page, host)
        page.get_by_role("button", name="Yes").click()
        page.locator("#start-watching:enabled").wait_for()
        host.down = True
        page.click("#start-watching")

        def readings() -> Iterator[tuple[str, Held]]:
            step = minutes / READINGS
            for each in range(READINGS):
                page.wait_for_timeout(60_000 * step)
                yield f"{step * (each + 1):.1f} min, {page.get_attribute('#state', 'data-state')}", held(browser, page)

        memory(readings())
        print(f"At the end: {' '.join(page.inner_text('#figures').split())}")


def memory(readings: Iterable[tuple[str, Held]]) -> None:
    """Print what is held, as it comes."""
    table(
        ("after", "script and runtime, MB", "process, MB", "nodes", "listeners"),
        ((at, f"{h.script_mb:.2f}", f"{h.process_mb:.0f}", h.nodes, h.listeners) for at, h in readings),
    )


def main() -> None:
    """Print tables, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="for which the whole app watches")
    parser.add_argument("--frames", type=int, default=3000, help="with which the worker is fed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        camera = write_camera(Path(temporary) / "demo.y4m")
        folder = write_app(Path(temporary) / "app")
        first_visit(folder, camera)
        # Hosts read the folder once: what they serve lies there first.
        cv2.imwrite(str(folder / "picture.png"), next(iter(clip_frames())))
        phone_web.build(folder, "test/probe.ts")
        write_frames(folder)
        with ExitStack() as stack:
            hosts = {
                "plain host, one thread": stack.enter_context(hosted(folder, isolated=False)),
                "isolated, two threads": stack.enter_context(hosted(folder)),
            }
            browser = stack.enter_context(chromium())
            pages = {name: browser.new_page() for name in hosts}
            for page in pages.values():
                page.set_default_timeout(120_000)
            parts(folder, hosts, pages)
            frames(folder, hosts, pages)
        shutil.rmtree(folder / FRAMES)
        write_frames(folder, width=640)
        fed(folder, options.frames)
        whole(folder, camera, options.minutes)


if __name__ == "__main__":
    main()
