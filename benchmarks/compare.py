"""Compare a frame in our loop with what people would use instead: one core, one run, by turns.

    make benchmarks                                         (brings the peers' networks first)
    python benchmarks/compare.py FOLDER [--seconds 120] [--plot docs/benchmarks.svg]

FOLDER has the networks of `benchmarks/export_peers.py`. Each frame of the bundled clip goes through the alarm's own
loop, and then through one of the peers, the one that has had the least time so far. Decoding is the same for all and
not counted. A peer's frame is its own recipe: letterbox, scale, network; no non-maximum suppression, for the weights
are random. Its recall is not compared here: that needs trained weights.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what is refused is in the table

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from edge.alert.events import EventPublisher
from edge.camera import open_source
from edge.decide.evidence import Rule
from edge.detect.classifier import BUNDLED, Classifier
from edge.device.sensors import about
from edge.schema import Frame, Picture
from edge.watch import Watcher

IDLE, CROP, SCAN = "Bear Alarm, nothing moves", "Bear Alarm, one thing moves", "Bear Alarm, with a scan of the whole"


@dataclass
class Contender:
    """One way of looking at a frame, and the milliseconds of CPU that each took."""

    name: str
    look: Callable[[Picture], object]
    took_ms: list[float] = field(default_factory=list)


def main() -> None:
    """Print a table in Markdown; draw it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    peers, refused = contenders(options.folder)
    took = ours(peers, options.seconds)
    rows = [(name, median(found), len(found)) for name, found in took.items() if found]
    rows += [(peer.name, median(peer.took_ms[1:]), len(peer.took_ms) - 1) for peer in peers if len(peer.took_ms) > 2]
    base = {name: ms for name, ms, _ in rows}
    if CROP not in base:
        sys.exit(f"--seconds {options.seconds:g} is too short: in no frame one thing moved; give more, such as 120")
    machine = about(Path("/"))
    print(f"{machine.board or machine.system or machine.machine}, one thread, medians of CPU time\n")
    print("| a 1280x720 frame | ms of one core | to our frame where one thing moves | frames |\n|---|---|---|---|")
    for name, ms, count in rows:
        print(f"| {name} | {ms:.2f} | {ms / base[CROP]:.2f} | {count} |")
    for name, why in refused:
        print(f"| {name} | refused ({why}) | | |")
    if options.plot:
        plot([(name, ms / base[CROP]) for name, ms, _ in rows], options.plot)


def ours(peers: list[Contender], seconds: float) -> dict[str, list[float]]:
    """Watch the clip again and again, a peer's turn after each frame; return our milliseconds by what was done."""
    classifier = Classifier(BUNDLED)
    took: dict[str, list[float]] = {IDLE: [], CROP: [], SCAN: []}
    until, scans = time.monotonic() + seconds, itertools.count()
    while time.monotonic() < until:
        watcher = Watcher(classifier, Rule.from_card(classifier.card), EventPublisher())
        scan, scanned = watcher.scan, [next(scans)]

        def counted(image: Picture) -> Any:
            scanned[0] = next(scans)  # noqa: B023
            return scan(image)  # noqa: B023

        watcher.scan = counted

        def frames() -> Iterator[Frame]:
            with open_source("demo") as source:
                for frame in source:
                    before, crops = scanned[0], watcher.stats.crops  # noqa: B023
                    frame.image  # decoded, for all  # noqa: B018
                    started = time.thread_time()
                    yield frame
                    ms = (time.thread_time() - started) * 1000.0
                    done = watcher.stats.crops - crops  # noqa: B023
                    kind = SCAN if scanned[0] != before else {0: IDLE, 1: CROP}.get(done)  # noqa: B023
                    if kind:
                        took[kind].append(ms)
                    peer = min(peers, key=lambda each: sum(each.took_ms))
                    started = time.thread_time()
                    peer.look(frame.image)
                    peer.took_ms.append((time.thread_time() - started) * 1000.0)
                    if time.monotonic() >= until:
                        return

        watcher(frames())
    return took


def contenders(folder: Path) -> tuple[list[Contender], list[tuple[str, str]]]:
    """Return what people would use instead, and what could not be loaded with why."""
    import onnxruntime as ort

    found, refused = [], []
    for path in sorted(folder.glob("*.onnx")):
        name, _, side = path.stem.rpartition("-")
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        given = session.get_inputs()[0].name

        def run(image: Picture, session: Any = session, given: str = given, size: int = int(side)) -> object:
            return session.run(None, {given: letterbox(image, size)})

        found.append(Contender(f"{name} at {side}, onnxruntime", run))
    for path, size in ((folder / "yolo11n-640.onnx", 640), (BUNDLED, 224)):
        name = "our model" if path == BUNDLED else path.stem.replace("-", " at ")
        try:
            network = cv2.dnn.readNetFromONNX(str(path))
            network.setInput(letterbox(np.zeros((720, 1280, 3), np.uint8), size))
            network.forward()
        except cv2.error as error:
            refused.append((f"{name}, OpenCV's dnn", error.func or "it cannot be read"))
            continue

        def forward(image: Picture, network: Any = network, size: int = size) -> object:
            network.setInput(letterbox(image, size))
            return network.forward()

        found.append(Contender(f"{name}, OpenCV's dnn", forward))
    found.append(Contender("fastai `learn.predict`, resnet18 at 224", fastai_predict()))
    return found, refused


def letterbox(image: Picture, size: int) -> Any:
    """Return a picture as YOLO takes it: float32 (1, 3, size, size) RGB, 0 to 1, grey at the rim."""
    scale = size / max(image.shape[:2])
    high, wide = (round(side * scale) for side in image.shape[:2])
    whole = np.full((size, size, 3), 114, np.uint8)
    top, left = (size - high) // 2, (size - wide) // 2
    whole[top : top + high, left : left + wide] = cv2.resize(image, (wide, high), interpolation=cv2.INTER_LINEAR)
    return cv2.dnn.blobFromImage(whole, 1 / 255, swapRB=True)


def fastai_predict() -> Callable[[Picture], object]:
    """Return the fastai book's way: a vision learner (no weights), asked for one picture."""
    import tempfile

    import torch
    from fastai.vision.all import ImageDataLoaders, PILImage, Resize, resnet18, vision_learner

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(8):
            cv2.imwrite(f"{folder}/{number}.png", np.full((64, 64, 3), 30 * number, np.uint8))
        files = sorted(Path(folder).glob("*.png"))
        labels = ["bear", "none"] * 4
        data = ImageDataLoaders.from_lists(folder, files, labels, item_tfms=Resize(224), bs=4, num_workers=0)
        learn = vision_learner(data, resnet18, pretrained=False)
    learn.model.eval()

    def predict(image: Picture) -> object:
        with learn.no_bar(), learn.no_logging():
            return learn.predict(PILImage.create(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)))

    return predict


def plot(rows: list[tuple[str, float]], path: Path) -> None:
    """Draw the ratios as bars, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "bear alarm"
    from matplotlib import pyplot

    rows = sorted(rows, key=lambda row: row[1])
    figure, axes = pyplot.subplots(figsize=(8.5, 0.36 * len(rows) + 1.0))
    names, ratios = zip(*rows, strict=True)
    bars = axes.barh(names, ratios, color=["#2a78d6" if name.startswith("Bear") else "#b8b6ae" for name in names])
    axes.bar_label(bars, [f"{ratio:.2f} ×" if ratio < 10 else f"{ratio:.0f} ×" for ratio in ratios], padding=4)
    axes.set_xscale("log")
    axes.set_xlabel("CPU time of a 1280×720 frame, to ours where one thing moves (= 1)")
    axes.margins(x=0.15)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
