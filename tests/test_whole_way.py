"""Pictures -> train -> export -> watch, through the commands, on a tiny set that is generated here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("fastai")
pytest.importorskip("onnxscript")

SMALL = {"OMP_NUM_THREADS": "2", "COLUMNS": "120"}


def bear_alarm(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    done = subprocess.run(
        [sys.executable, "-m", "edge", *map(str, words)],
        capture_output=True, text=True, env=os.environ | SMALL, timeout=1500, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def scene(rng: np.random.Generator, animal: tuple[int, int, int] | None, size: int = 96) -> np.ndarray:
    """A green noise meadow with a furry blob of one colour in it, (size, size, 3) BGR."""
    meadow: np.ndarray = rng.normal((60, 120, 70), 18, (size, size, 3))
    meadow = cv2.GaussianBlur(meadow, (0, 0), 1.2)
    if animal:
        centre = tuple(int(v) for v in rng.uniform(0.4, 0.6, 2) * size)
        axes = (int(size * 0.34), int(size * 0.24))
        mask = np.zeros((size, size), np.float32)
        cv2.ellipse(mask, centre, axes, float(rng.uniform(-15, 15)), 0, 360, 1.0, -1)
        fur = rng.normal(animal, 14, (size, size, 3))
        meadow = meadow * (1 - mask[..., None]) + fur * mask[..., None]
    return np.clip(meadow, 0, 255).astype(np.uint8)


BROWN, BLUE = (35, 60, 95), (180, 90, 40)
BROKEN = "no_bear/camera3/blob7.jpg"  # a card is seldom whole


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Brown blobs are bears, blue blobs and the empty meadow are not; six cameras; one picture is truncated."""
    folder = tmp_path_factory.mktemp("pictures")
    for camera in range(6):
        rng = np.random.default_rng(camera)
        for label, animal in (("brown_bear", BROWN), ("no_bear", BLUE), ("no_bear", None)):
            for n in range(8):
                path = folder / label / f"camera{camera}" / f"{'empty' if animal is None else 'blob'}{n}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), scene(rng, animal))
    broken = folder / BROKEN
    broken.write_bytes(broken.read_bytes()[:-500])
    return folder


TINY = ("--epochs", 3, "--per-epoch", 384)


@pytest.fixture(scope="module")
def run(pictures: Path) -> Path:
    """A run trained on the generated pictures."""
    folder = pictures.parent / f"{pictures.name}-run"
    said = bear_alarm("train", pictures, "--out", folder, *TINY).stderr
    assert "bear recall" in said
    assert f"1 of 144 pictures are damaged or empty ({BROKEN})" in said
    return folder


def test_a_run_holds_what_it_promises(run: Path) -> None:
    names = {file.name for file in run.iterdir()}
    assert names >= {
        "learner.pkl", "settings.json", "split.csv", "metrics.json",
        "confusion-matrix.png", "top-losses.png", "learning-curve.png",
    }  # fmt: skip
    metrics = json.loads((run / "metrics.json").read_text())
    # The degraded copies of a blob are hopeless; the blobs themselves are not.
    assert metrics["thresholds"]["clean"]["recall"] > 0.9
    assert set(metrics["history"][-1]) >= {"error_rate", "bear_recall", "false_positive_rate"}
    settings = json.loads((run / "settings.json").read_text())
    assert settings["recipe"]["seed"] == 7
    assert set(settings["parts"]) == {"train", "tune", "test"}
    rows = (run / "split.csv").read_text().splitlines()[1:]
    cameras: dict[str, set[str]] = {}
    for row in rows:
        file, _, _, group, part = row.split(",")
        if file == BROKEN:
            assert part == "left out"
            continue
        cameras.setdefault(group, set()).add(part)
        assert file.split("/")[1] == group
    assert all(len(parts) == 1 for parts in cameras.values())


def test_the_same_seed_gives_the_same_run(pictures: Path, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        bear_alarm("train", pictures, "--out", folder, "--epochs", 1, "--per-epoch", 64)
    for name in ("split.csv", "metrics.json"):
        assert len({(folder / name).read_text() for folder in folders}) == 1
    refused = bear_alarm("train", pictures, "--out", folders[0], code=2).stderr
    assert "already holds a trained run" in refused


def clip(path: Path, animal: tuple[int, int, int] | None) -> Path:
    """Five seconds of meadow; an animal walks through from the second second on."""
    rng = np.random.default_rng(99)
    width, height, side = 640, 360, 120
    still = cv2.GaussianBlur(rng.normal((60, 120, 70), 18, (height, width, 3)), (0, 0), 1.2)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    walker = scene(np.random.default_rng(5), animal, side)
    mask = np.zeros((side, side), np.float32)
    cv2.ellipse(mask, (side // 2, side // 2), (int(side * 0.38), int(side * 0.28)), 0, 0, 360, 1.0, -1)
    for n in range(60):
        frame = still + rng.normal(0, 2, still.shape)
        if animal and n >= 15:
            x, y = 40 + 8 * (n - 15), 150
            part = frame[y : y + side, x : x + side]
            frame[y : y + side, x : x + side] = part * (1 - mask[..., None]) + walker * mask[..., None]
        writer.write(np.clip(frame, 0, 255).astype(np.uint8))
    writer.release()
    return path


def test_export_watch_and_evaluate(pictures: Path, run: Path, tmp_path: Path) -> None:
    model = tmp_path / "bear.onnx"
    # A toy set is too small for the int8 gate to be decided by it; --force writes the verdict into the card.
    said = bear_alarm("export", run, "--out", model, "--precision", "both", "--force").stdout
    assert "Parity on" in said
    crops = int(said.split("Parity on ")[1].split(" ")[0].replace(",", ""))
    assert crops >= 2000
    assert (tmp_path / "bear.fp32.onnx").is_file()

    shown = json.loads(bear_alarm("model", "show", model, "--json").stdout)
    card = shown.get("card", shown)
    assert card["precision"] == "int8"
    assert card["parity"]["fp32_max_abs_dp"] <= 1e-4
    assert card["notice"] is None  # a user's own pictures: nothing is unclear
    assert card["golden"] >= 6
    assert card["golden_sha256"]
    crop, still = card["thresholds"]["crop"], card["thresholds"]["still"]
    assert crop["n_bear"] == 3 * crop["bear_pictures"]  # clean, and two degraded
    assert still["n_bear"] == still["bear_pictures"] == crop["bear_pictures"]
    parity = card["parity"]
    assert 0 < parity["fp32_threshold"] != parity["int8_threshold"]
    assert 0 <= parity["int8_false_positive_rate"] < 0.5
    assert "fp32 false positives at" in said
    bear_alarm("model", "check", model)

    # ImageNet's own head does not take a blob for a bear, so this set's alarm level lies low.
    events = tmp_path / "events.jsonl"
    bear = clip(tmp_path / "bear.avi", BROWN)
    bear_alarm("watch", bear, "--model", model, "--events", events, "--evidence", tmp_path / "evidence",
               "--threshold", 0.06)  # fmt: skip
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["type"] for line in lines if line["type"] != "update"] == ["new", "end"]
    assert lines[0]["label"] == "brown_bear"
    assert Path(lines[0]["evidence"]).is_file()
    assert 1.4 <= lines[0]["media_time_s"] <= 3.5

    quiet = tmp_path / "quiet.jsonl"
    bear_alarm(
        "watch", clip(tmp_path / "blue.avi", BLUE), "--model", model, "--events", quiet, "--evidence", tmp_path / "e"
    )
    assert not quiet.exists() or quiet.read_text() == ""

    judged = json.loads(bear_alarm("evaluate", pictures, "--model", model, "--json").stdout)
    assert judged


def test_export_refuses_pictures_that_changed(pictures: Path, run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    (moved / "no_bear/camera0").mkdir(parents=True)
    cv2.imwrite(str(moved / "no_bear/camera0/x.jpg"), scene(np.random.default_rng(0), None))
    said = bear_alarm("export", run, "--data", moved, "--out", tmp_path / "x.onnx", code=2).stderr
    assert "changed" in said
    assert not (tmp_path / "x.onnx").exists()


def test_export_refuses_what_is_no_run(tmp_path: Path) -> None:
    assert "not a finished training run" in bear_alarm("export", tmp_path, code=2).stderr
