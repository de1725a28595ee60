"""Parts of the web app for phones in a browser: bundles of its sources, a small server, and a stand-in app."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.camera import DEMO
from edge.schema import Picture

WEB = Path(__file__).parents[2] / "edge" / "phone" / "web"
MODULES = WEB / "node_modules"
ORT_FILES = ("ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
ISOLATED = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
CHROMIUM = "/usr/bin/chromium"
MODEL_NAME = "stand-in"


def bundle(
    source: str, out: Path, *, form: str = "esm", define: Mapping[str, Any] | None = None, extra: Sequence[str] = ()
) -> Path:
    """Bundle TypeScript that imports from "./src/…" into one file, as build.mjs does."""
    esbuild = MODULES / ".bin" / "esbuild"
    if not esbuild.exists():
        pytest.skip("no node_modules; run `npm ci` in edge/phone/web")
    defined = [f"--define:{name}={json.dumps(value)}" for name, value in (define or {}).items()]
    words = [
        str(esbuild),
        "--bundle",
        "--loader=ts",
        f"--format={form}",
        "--target=es2022",
        f"--outfile={out}",
        *defined,
        *extra,
    ]
    done = subprocess.run(words, cwd=WEB, input=source, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def build(folder: Path, *scripts: str) -> None:
    """Bundle scripts of the web app into a folder as build.mjs does, beside the runtime's own files and a blank page.

    ``scripts``: their paths below ``WEB``; each becomes NAME.js.
    """
    for name in ORT_FILES:
        shutil.copy(MODULES / "onnxruntime-web" / "dist" / name, folder)
    options = ("--bundle", "--format=esm", "--minify", "--conditions=onnxruntime-web-use-extern-wasm")
    command = [str(MODULES / ".bin" / "esbuild"), *scripts, *options, f"--outdir={folder}", "--entry-names=[name]"]
    subprocess.run([*command, "--log-level=warning"], cwd=WEB, check=True)
    tags = "".join(f'<script type="module" src="{Path(each).stem}.js"></script>' for each in scripts)
    (folder / "blank.html").write_text("<!DOCTYPE html><title>Blank</title>")
    (folder / "probe.html").write_text(f"<!DOCTYPE html><title>Probe</title>{tags}")


@contextmanager
def chromium(*args: str) -> Iterator[Any]:
    """Debian's chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *args])
        yield started
        started.close()


class Site:
    """A static host on the loopback that serves a folder below /bears/app/, and fails as a test sets it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.headers: dict[str, str] = {}
        self.down = False  # every connection ends without an answer
        self.cut: set[str] = set()  # files that end halfway
        self.redirects: dict[str, str] = {}
        self.asked: list[str] = []  # files, in order
        handler = partial(_Handler, self, directory=str(folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/bears/app/"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(10)


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, site: Site, *args: Any, **more: Any) -> None:
        self.site = site
        super().__init__(*args, **more)

    def do_GET(self) -> None:
        del self.headers["If-Modified-Since"]  # of whole seconds: a test changes a file within one
        name = self.path.partition("?")[0].removeprefix("/bears/app/")
        self.site.asked.append(name)
        if self.site.down:
            self.close_connection = True
        elif name in self.site.redirects:
            self.send_response(308)
            self.send_header("Location", self.site.redirects[name])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif name in self.site.cut:
            data = (self.site.folder / name).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        else:
            self.path = "/" + name
            super().do_GET()

    def end_headers(self) -> None:
        for name, value in self.site.headers.items():
            self.send_header(name, value)
        super().end_headers()

    def guess_type(self, path: Any) -> str:
        """Return a script's type for .mjs too, which older Pythons do not know."""
        return "text/javascript" if str(path).endswith(".mjs") else super().guess_type(path)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path, headers: Mapping[str, str] | None = None) -> Iterator[str]:
    """Serve a folder on a `Site` with further headers; gives its address, with a slash at the end."""
    site = Site(folder)
    site.headers.update(headers or {})
    try:
        yield site.address
    finally:
        site.close()


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


def demo_frames(seconds: Sequence[float]) -> list[Picture]:
    """Frames of the bundled clip."""
    clip = cv2.VideoCapture(str(DEMO))
    found = []
    for each in seconds:
        clip.set(cv2.CAP_PROP_POS_FRAMES, round(each * clip.get(cv2.CAP_PROP_FPS)))
        found.append(np.asarray(clip.read()[1], np.uint8))
    clip.release()
    return found


APP = """
import * as install from "./src/install";
const offers: string[] = [];
Object.assign(globalThis, { install, offers, watch: () => install.watchForUpdates((what) => offers.push(what)) });
document.title = VERSION;
"""
RUNTIME = b"".join(hashlib.sha256(bytes([number])).digest() for number in range(256)) * 40  # 330 kB


def write_app(folder: Path, version: str) -> None:
    """Write a stand-in app of this version, with the real service worker."""
    folder.mkdir(exist_ok=True)
    bundle(APP, folder / "app.js", define={"VERSION": version})
    page = f'<!doctype html><title>-</title><p>{version}</p><script type="module" src="app.js"></script>'
    (folder / "index.html").write_text(page)
    (folder / "worker.js").write_text(f'postMessage("worker {version}");')
    (folder / "runtime.wasm").write_bytes(RUNTIME)
    files = {}
    for name in ("app.js", "index.html", "runtime.wasm", "worker.js"):
        data = (folder / name).read_bytes()
        files[name] = [hashlib.sha256(data).hexdigest(), len(data)]
    define = {"APP_VERSION": version, "APP_FILES": files}
    bundle('import "./src/sw";', folder / "sw.js", form="iife", define=define)


def write_model(folder: Path, data: bytes) -> str:
    """Write a model as `bear-alarm phone` does; gives its SHA-256."""
    digest = hashlib.sha256(data).hexdigest()
    for old in folder.glob("model-*.onnx"):
        old.unlink()
    file = f"model-{digest[:12]}.onnx"
    (folder / file).write_bytes(data)
    card = {"name": MODEL_NAME, "file": file, "sha256": digest, "bytes": len(data)}
    (folder / "model.json").write_text(json.dumps(card))
    return digest
