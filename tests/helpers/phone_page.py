"""Parts of the web app for phones in Debian's chromium: built by esbuild, served on the loopback address."""

from __future__ import annotations

import functools
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.camera import DEMO
from edge.schema import Picture

WEB = Path(__file__).parents[2] / "edge" / "phone" / "web"
MODULES = WEB / "node_modules"
RUNTIME = ("ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}

# A worker, and what it says; `told` waits for the next message of some types.
WORKER_PAGE = """
globalThis.open = () => {
  globalThis.worker?.terminate();
  globalThis.inbox = [];
  globalThis.worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = ({ data }) => inbox.push(data);
  worker.onerror = (event) => inbox.push({ type: "error", message: event.message });
};
globalThis.told = async (...types) => {
  for (let tries = 0; tries < 4000; tries++) {
    const at = inbox.findIndex((each) => types.includes(each.type) || each.type === "error");
    if (at >= 0) return inbox.splice(at, 1)[0];
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`no ${types} came, but ${JSON.stringify(inbox)}`);
};
globalThis.start = async (model, sha256, more = {}) => {
  open();
  worker.postMessage({ type: "start", model, sha256, threads: 1, live: true, camera: "phone", bootId: "b".repeat(32),
    seq: 1, settings: { threshold: null, zones: [] }, reviews: [], ...more });
  return told("ready", "failed");
};
globalThis.frame = async (address, time, discontinuity = false) => {
  const blob = await (await fetch(address)).blob();
  const picture = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  worker.postMessage({ type: "frame", picture, time, wall: 1.7e12 + 1000 * time, discontinuity }, [picture]);
  return told("looked", "failed");
};
"""


def build(folder: Path, *scripts: str) -> None:
    """Bundle scripts of the web app into a folder as build.mjs does, beside the runtime's own files and a blank page.

    ``scripts``: their paths below ``WEB``; each becomes NAME.js.
    """
    for name in RUNTIME:
        shutil.copy(MODULES / "onnxruntime-web" / "dist" / name, folder)
    options = ("--bundle", "--format=esm", "--minify", "--conditions=onnxruntime-web-use-extern-wasm")
    command = [str(MODULES / ".bin" / "esbuild"), *scripts, *options, f"--outdir={folder}", "--entry-names=[name]"]
    subprocess.run([*command, "--log-level=warning"], cwd=WEB, check=True)
    tags = "".join(f'<script type="module" src="{Path(each).stem}.js"></script>' for each in scripts)
    (folder / "blank.html").write_text("<!DOCTYPE html><title>Blank</title>")
    (folder / "probe.html").write_text(f"<!DOCTYPE html><title>Probe</title>{tags}")


class _Handler(SimpleHTTPRequestHandler):
    """Files of a folder, with further headers."""

    def __init__(self, *given: Any, headers: dict[str, str], **more: Any) -> None:
        self._more = headers
        super().__init__(*given, **more)

    def end_headers(self) -> None:
        """Add them."""
        for name, value in self._more.items():
            self.send_header(name, value)
        super().end_headers()

    def guess_type(self, path: Any) -> str:
        """Return a script's type for .mjs too, which older Pythons do not know."""
        return "text/javascript" if str(path).endswith(".mjs") else super().guess_type(path)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path, headers: dict[str, str] | None = None) -> Iterator[str]:
    """Serve a folder on the loopback address; gives its address, with a slash at the end."""
    handler = functools.partial(_Handler, directory=str(folder), headers=headers or {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def browser(*flags: str) -> Iterator[Any]:
    """Start Debian's chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", *flags])
        yield started
        started.close()


def demo_frames(seconds: Sequence[float]) -> list[Picture]:
    """Frames of the bundled clip."""
    clip = cv2.VideoCapture(str(DEMO))
    found = []
    for each in seconds:
        clip.set(cv2.CAP_PROP_POS_FRAMES, round(each * clip.get(cv2.CAP_PROP_FPS)))
        found.append(np.asarray(clip.read()[1], np.uint8))
    clip.release()
    return found
