"""A fixed camera's frames, thousands of which look alike, cost little more each than one alone.

    PYTHONPATH=. python tests/train_data/test_gather_frames.py 5000 --noise 3

measures it: one view of 320x240 pixels with something dark in another place on each frame, in JPEG, kept one by one.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge.pictures import read_picture
from tests.helpers.far_side import jpeg
from train.data.gather.offers import Offer
from train.data.table import Table

pytest.importorskip("imagehash")
from train.data.gather.importer import PictureImporter
from train.data.gather.offers import NEW


def frames(count: int, noise: float, seed: int = 0) -> Iterator[tuple[Offer, bytes]]:
    """Frames of one camera; ``noise``: standard deviation, of 256 levels, of each pixel."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (60, 80, 3), np.uint8)
    view = cv2.GaussianBlur(cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC), (0, 0), 2)
    for number in range(count):
        frame = np.asarray(view, np.float32).copy()
        at = int(random.integers(15, 300)), int(random.integers(15, 220))
        cv2.circle(frame, at, 10, (20, 20, 20), -1)
        frame += np.asarray(random.normal(0, noise, frame.shape), np.float32)
        yield (
            Offer("no_bear", "camera", "group", f"{seed}-{number}", fixed_camera=True),
            jpeg(np.clip(frame, 0, 255).astype(np.uint8)),
        )


def test_no_frame_is_opened_again_but_those_of_an_earlier_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    opened: list[Path] = []

    def noted(path: Path) -> Any:
        opened.append(path)
        return read_picture(path)

    monkeypatch.setattr("train.data.gather.importer.read_picture", noted)
    with Table(tmp_path) as table:
        importer = PictureImporter(table)
        kept = [importer.take(found, data) for found, data in frames(120, 2)].count(NEW)
    assert kept > 110
    assert opened == []
    with Table(tmp_path) as table:
        importer = PictureImporter(table)
        assert [importer.take(found, data) for found, data in frames(20, 2, seed=0)].count(NEW) == 0
        assert len(opened) == 0  # the same bytes
        for found, data in frames(20, 2, seed=1):
            importer.take(found, data)
    assert len(opened) == len(set(opened)) <= kept


def main() -> None:
    """Keep frames and print what each cost."""
    options = argparse.ArgumentParser(description="What it costs to gather a fixed camera's frames.")
    options.add_argument("frames", type=int)
    options.add_argument("--noise", type=float, default=0.0, help="of each pixel, levels of 256")
    given = options.parse_args()
    every = max(1, given.frames // 5)
    with tempfile.TemporaryDirectory() as folder, Table(folder) as table:
        importer, spent_s = PictureImporter(table), 0.0
        for number, (found, data) in enumerate(frames(given.frames, given.noise), start=1):
            began = time.process_time()
            importer.take(found, data)
            spent_s += time.process_time() - began
            if number % every == 0:
                held_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
                each = f"{spent_s / every * 1000:.1f} ms of CPU each"
                print(f"{number} frames, {len(table.rows)} kept, {each}, {held_mb} MB at most", flush=True)
                spent_s = 0.0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
