"""The real web app on a host of this machine, its worker fed with the demo, and what its process in chromium holds."""

from __future__ import annotations

import functools
import ipaddress
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import cv2

from edge.detect.classifier import BUNDLED
from edge.phone import folder as app_folder
from edge.phone.server import APP_HEADERS, Content, _Handler, _Server, content
from tests.helpers.phone_camera import clip_frames

MB = 1024 * 1024
FRAMES = "frames"  # in the folder: the demo as JPEG, which the app itself does not know
BLANK = "model.json"  # a page of this host that runs nothing
LOOPBACK = ipaddress.ip_address("127.0.0.1")
EAGER = "--enable-blink-features=ForceEagerMeasureMemory"  # memory is measured at once, after collecting garbage

# What a page needs to speak to the worker as the app does.
FEED = """async (count) => {
  const blobs = await Promise.all(Array.from({ length: count }, async (_, number) =>
    (await fetch(`frames/${String(number).padStart(3, "0")}.jpg`)).blob()));
  let worker, hear;
  globalThis.events = 0;
  const answer = () => new Promise((resolve, reject) => {
    hear = (data) => (data.type === "failed" ? reject(new Error(data.detail)) : resolve(data));
  });
  globalThis.begin = (live, threads, model) => {
    worker = new Worker("worker.js", { type: "module" });
    worker.onmessage = ({ data }) => { if (data.type !== "published") hear(data); };
    worker.onerror = ({ message }) => hear({ type: "failed", detail: message });
    const ready = answer();
    worker.postMessage({ type: "start", model: model.file, sha256: model.sha256, threads, live, camera: "phone",
      bootId: "b".repeat(32), seq: 1, settings: { threshold: null, zones: [] }, reviews: [] });
    return ready;
  };
  globalThis.look = async (number, time) => {
    const picture = await createImageBitmap(blobs[number % blobs.length]);
    const looked = answer();
    worker.postMessage({ type: "frame", picture, time, wall: 1.7e12 + 1000 * time, discontinuity: false }, [picture]);
    const { tookMs, state, events: come } = await looked;
    globalThis.events += come.filter(({ event }) => event.kind === "bear" && event.type === "new").length;
    return { tookMs, state };
  };
  globalThis.feed = async (from, to, step) => {
    for (let number = from; number < to; number++) await look(number, number * step);
    return globalThis.events;
  };
}"""


class Host:
    """A host of one folder, as `bear-alarm phone --serve` sends it, but with no TLS: loopback needs none."""

    def __init__(self, folder: Path, *, isolated: bool = True) -> None:
        # Not isolated: a plain static host, without the headers that give further threads.
        headers = {
            name: value for name, value in APP_HEADERS.items() if isolated or not name.startswith("Cross-Origin")
        }
        self.down = False
        self.sent: list[tuple[str, int]] = []  # the path and the bytes of each body
        self.server = _Server("--port", LOOPBACK, 0, headers)
        served = {f"/{name}": each for name, each in contents(folder).items()}
        self.server.RequestHandlerClass = functools.partial(_CountingHandler, self)
        self.address = f"http://127.0.0.1:{self.server.server_port}/"
        self.server.start({"/": served["/index.html"], **served})

    def close(self) -> None:
        """Stop serving."""
        self.server.close()


class _CountingHandler(_Handler):
    def __init__(self, host: Host, *given: Any) -> None:
        self.host = host
        super().__init__(*given)

    def do_GET(self) -> None:
        if self.host.down:
            self.close_connection = True
            return
        super().do_GET()

    def reply(self, status: HTTPStatus, headers: Mapping[str, str], data: bytes | None = None) -> None:
        self.host.sent.append((self.path.partition("?")[0].lstrip("/"), len(data or b"")))
        super().reply(status, headers, data)


def contents(folder: Path) -> dict[str, Content]:
    """Return every file of a folder as it is sent."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {name: content(name, path.read_bytes()) for path in files for name in [path.relative_to(folder).as_posix()]}


@contextmanager
def hosted(folder: Path, *, isolated: bool = True) -> Iterator[Host]:
    """Serve a folder."""
    host = Host(folder, isolated=isolated)
    try:
        yield host
    finally:
        host.close()


def write_app(folder: Path, model: Path = BUNDLED) -> Path:
    """Write what `bear-alarm phone` writes: the app of this checkout and a model."""
    app_folder.write(folder, model)
    return folder


def write_frames(folder: Path, *, every: int = 1, width: int = 1280) -> int:
    """Write frames of the demo beside the app, for the worker's page; returns how many."""
    (folder / FRAMES).mkdir()
    frames = list(clip_frames())[::every]
    for number, image in enumerate(frames):
        small = cv2.resize(image, (width, width * 9 // 16), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / FRAMES / f"{number:03}.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return len(frames)


def start_worker(page: Any, host: Host, folder: Path, *, live: bool, threads: int = 1) -> Any:
    """Start the app's worker from a blank page of its host; gives what it says when it is ready."""
    page.goto(host.address + BLANK)
    page.evaluate(FEED, len(list((folder / FRAMES).iterdir())))
    model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    return page.evaluate("([live, threads, model]) => begin(live, threads, model)", [live, threads, model])


@dataclass(frozen=True)
class Held:
    """Memory of a page and its worker once garbage is collected."""

    script_mb: float  # objects, buffers and the runtime's memory, as the browser adds them up
    process_mb: float  # of the page's process, but for files: the same, pictures, the browser itself
    nodes: int  # of the document, and what is detached from it
    listeners: int


def held(browser: Any, page: Any) -> Held:
    """Measure a page of an isolated host, the only one of a browser started with ``EAGER``."""
    tab = page.context.new_cdp_session(page)
    tab.send("HeapProfiler.collectGarbage")
    script = page.evaluate("performance.measureUserAgentSpecificMemory()")["bytes"]
    counts = tab.send("Memory.getDOMCounters")
    tab.detach()
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    process = max(own_bytes(each["id"]) for each in processes if each["type"] == "renderer")
    return Held(script / MB, process / MB, counts["nodes"], counts["jsEventListeners"])


def own_bytes(process: int) -> int:
    """The resident memory of a process that is no part of a file.

    Program code is shared: what a process has of it changes as other browsers come and go.
    """
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return sum(1024 * int(each) for each in re.findall(r"Rss(?:Anon|Shmem):\s*(\d+) kB", status))
