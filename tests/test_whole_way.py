"""Pictures -> train -> export -> watch, through the commands, on a tiny set that is painted here."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("fastai")
pytest.importorskip("onnxscript")

from tests.helpers.command import Ran, in_a_process
from tests.helpers.command import bear_alarm as typed
from tests.helpers.trained_world import BROKEN, SAID
from train.notebooks.practice import ROCK, meadow, paint, practice_clip


def bear_alarm(*words: object, code: int = 0) -> Ran:
    """Run the command as a user does."""
    done = typed(*words)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_run_holds_what_it_promises(trained_run: Path) -> None:
    said = (trained_run / SAID).read_text()
    assert "bear recall" in said
    assert f"1 of 110 pictures are damaged or empty ({BROKEN})" in said
    run = trained_run / "run"
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


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run(trained_run: Path, tmp_path: Path) -> None:
    pictures, recipe = trained_run / "pictures", trained_run / "recipe.json"
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:  # each process hashes in its own order
        more = ["--recipe", recipe, "--per-epoch", 32, "--image-size", 32]
        assert in_a_process("train", pictures, "--out", folder, *more).returncode == 0
    for name in ("split.csv", "metrics.json"):
        assert len({(folder / name).read_text() for folder in folders}) == 1
    refused = bear_alarm("train", pictures, "--out", folders[0], code=2).stderr
    assert "already has a trained run" in refused


def quiet_clip(path: Path) -> Path:
    """The practice clip with a blue rock in the bear's place."""
    rng = np.random.default_rng(99)
    width, height, side = 640, 360, 120
    still, rock = meadow(rng, width, height), paint(np.random.default_rng(5), ROCK, side)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    for n in range(60):
        frame = still + rng.normal(0, 2, still.shape)
        if n >= 15:
            x, y = 40 + 8 * (n - 15), 150
            frame[y : y + side, x : x + side] = rock
        writer.write(np.clip(frame, 0, 255).astype(np.uint8))
    writer.release()
    return path


@pytest.mark.slow
def test_the_exported_model_and_its_card(exported_model: Path) -> None:
    said, model = (exported_model / SAID).read_text(), exported_model / "bear.onnx"
    assert int(said.split("Parity on ")[1].split(" ")[0].replace(",", "")) >= 2000
    assert "fp32 false positives at" in said
    assert (exported_model / "bear.fp32.onnx").is_file()
    shown = json.loads(bear_alarm("model", "show", model, "--json").stdout)
    card = shown.get("card", shown)
    assert card["precision"] == "int8"
    assert card["parity"]["fp32_max_abs_dp"] <= 1e-4
    assert card["notice"] is None  # a user's own pictures: nothing is unclear
    assert card["golden"] >= 6
    assert card["golden_sha256"]
    crop, still = card["thresholds"]["crop"], card["thresholds"]["frame"]
    assert crop["n_bear"] == 3 * crop["bear_pictures"]  # clean, and two degraded
    assert still["n_bear"] == still["bear_pictures"] == crop["bear_pictures"]
    parity = card["parity"]
    assert 0 < parity["fp32_threshold"] != parity["int8_threshold"]
    assert 0 <= parity["int8_false_positive_rate"] < 0.5
    bear_alarm("model", "check", model)


@pytest.mark.slow
def test_the_exported_model_raises_the_alarm_for_a_bear_alone(exported_model: Path, tmp_path: Path) -> None:
    model, events, quiet = exported_model / "bear.onnx", tmp_path / "events.jsonl", tmp_path / "quiet.jsonl"
    clip = practice_clip(tmp_path / "bear.avi")
    watch = "watch", "--model", model, "--threshold", 0.5  # the tuning part is too small to set it
    bear_alarm(*watch, clip, "--events", events, "--evidence", tmp_path / "evidence")
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert [line["type"] for line in lines if line["type"] != "update"] == ["new", "end"]
    assert lines[0]["label"] == "brown_bear"
    assert Path(lines[0]["evidence"]).is_file()
    assert 1.4 <= lines[0]["media_time_s"] <= 3.5

    rock = quiet_clip(tmp_path / "rock.avi")
    bear_alarm(*watch, rock, "--events", quiet, "--evidence", tmp_path / "e")
    assert not quiet.exists() or quiet.read_text() == ""


@pytest.mark.slow
def test_the_exported_model_is_measured(trained_run: Path, exported_model: Path) -> None:
    model = exported_model / "bear.onnx"
    assert json.loads(bear_alarm("evaluate", trained_run / "pictures", "--model", model, "--json").stdout)


def test_export_refuses_pictures_that_changed(trained_run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    (moved / "no_bear/camera-1").mkdir(parents=True)
    cv2.imwrite(str(moved / "no_bear/camera-1/x.jpg"), paint(np.random.default_rng(0), None))
    said = bear_alarm("export", trained_run / "run", "--data", moved, "--out", tmp_path / "x.onnx", code=2).stderr
    assert "changed" in said
    assert not (tmp_path / "x.onnx").exists()


def test_export_refuses_what_is_no_run(tmp_path: Path) -> None:
    assert "not a finished training run" in bear_alarm("export", tmp_path, code=2).stderr
