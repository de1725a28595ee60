"""Seeded crops and whole pictures that calibrate and verify an export, and the frame scan of networks and files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge.detect.classifier import SCAN
from edge.pictures import read_picture
from edge.schema import Picture
from export.verify import MIN_CROPS
from train.data.pictures import Picture as Row
from train.data.pictures import is_bear
from train.data.split import Split
from train.learn.examples import Track
from train.learn.inference import EvalCrops, ask_frame, frames_of
from train.learn.run import Run
from train.metrics.calibration import bear_probability, probabilities

CALIBRATION_FRAMES = 100

FrameScan = Callable[[Picture], NDArray[np.float64]]  # a frame (H, W, 3) -> probabilities of its windows (K, L)


def calibration_frames(rows: list[Row], seed: int) -> list[Picture]:
    """Draw tuning pictures, seeded and scaled as for the frame scan, for the int8 ranges. Raises PictureError."""
    drawn = np.random.default_rng(seed).permutation(len(rows))[:CALIBRATION_FRAMES]
    return [frame for number in drawn for frame in frames_of(read_picture(rows[number].file))]


def learned_places(split: Split) -> list[Row]:
    """Return the training part's frames of trail cameras without a bear."""
    return [row for row in split["train"] if row.of_trail_camera and not is_bear(row.label)]


def scan_of_run(run: Run) -> FrameScan:
    """Return the frame scan of the trained network."""
    return lambda frame: probabilities(ask_frame(run.net, run.backbone, frame)[0], run.frame.temperature)


def session_of(path: Path) -> ort.InferenceSession:
    """Open an ONNX file that has no card yet."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def scan_of_file(path: Path) -> FrameScan:
    """Return the frame scan of an ONNX file that has no card yet."""
    session = session_of(path)

    def ask(frame: Picture) -> NDArray[np.float64]:
        [windows] = session.run(["windows"], {"crops": frame[None], SCAN: np.array(True)})
        return np.asarray(windows[0], np.float64)

    return ask


def scan_all(rows: Iterable[Row], scans: Mapping[str, FrameScan]) -> dict[str, list[NDArray[np.float64]]]:
    """Return the windows' probabilities (K, L) of each picture by each scan. Raises PictureError."""
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in scans}
    for row in rows:
        frames = frames_of(read_picture(row.file))
        for name, scan in scans.items():
            found[name].append(np.concatenate([scan(frame) for frame in frames]))
    return found


def picture_scores(windows: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return each picture's bear probability (N,), the highest of its windows."""
    return np.array([bear_probability(each).max() for each in windows])


CALIBRATION_CROPS = 400


def parity_crops(rows: list[Row], size: int, seed: int, track: Track[Row]) -> EvalCrops:
    """Cut at least MIN_CROPS degraded crops of the test part, half of them of bears if there are enough pictures."""
    bears = sum(is_bear(row.label) for row in rows)
    of_bears, of_others = (max(2, -(-MIN_CROPS // (2 * max(count, 1)))) for count in (bears, len(rows) - bears))
    shown = track(rows, "crops of the test part")
    found = EvalCrops.of(shown, size, seed, lambda row: of_bears if is_bear(row.label) else of_others)
    return found.where(found.degraded)


def calibration_crops(tune: EvalCrops, seed: int) -> NDArray[np.uint8]:
    """Draw degraded and clean tuning crops, seeded, for the int8 ranges."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(tune.crops))
    degraded = [n for n in order if tune.degraded[n]][: CALIBRATION_CROPS * 3 // 4]
    clean = [n for n in order if not tune.degraded[n]][: CALIBRATION_CROPS - len(degraded)]
    return tune.crops[[*degraded, *clean]]
