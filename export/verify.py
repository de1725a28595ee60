"""Compare torch, fp32 and int8 on the same crops and pictures of the test part; refuse an export that fails a gate.

Quantizing shifts all scores a little, so one threshold for both would compare two operating points. The gate uses the
same operating point: for each graph the lowest threshold that passes equally many tuning crops without a bear, int8
never more than fp32 (``gate_thresholds``). The seeded crops and pictures for that, and for int8's calibration, are made
here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge.detect.card import Parity
from edge.detect.classifier import SCAN
from edge.errors import BearAlarmError
from edge.pictures import read_picture
from edge.schema import Picture
from train.data.pictures import Picture as Row
from train.data.pictures import is_bear
from train.data.split import Split
from train.learn.examples import Track
from train.learn.inference import EvalCrops, ask_frame, frames_of
from train.learn.run import Run
from train.metrics.calibration import bear_probability, probabilities
from train.metrics.rates import lowest_threshold

MIN_CROPS = 2000
MIN_FRAME_BEARS = 1000  # pictures: with fewer, chance alone exceeds the allowed loss of recall
MAX_FP32_DP = 1e-4
MAX_RECALL_LOSS = 0.01  # upper 95 % bound
MIN_AGREEMENT = 0.975
Z95_ONE_SIDED = 1.6449


class ParityError(BearAlarmError, ValueError):
    """The exported graph's answers differ from the trained network's."""


@dataclass(frozen=True)
class Answers:
    """One network's bear probabilities on the test crops, and its threshold."""

    bear: NDArray[np.float64]  # (N,)
    threshold: float

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Return which crops reach the threshold (N,)."""
        found: NDArray[np.bool_] = self.bear >= self.threshold
        return found

    def false_positive_rate(self, bears: NDArray[np.bool_]) -> float:
        """Return the share of crops without a bear that reach the threshold."""
        return float(self.hit[~bears].mean()) if (~bears).any() else 0.0


def gate_thresholds(
    fp32: NDArray[np.float64], int8: NDArray[np.float64], bears: NDArray[np.bool_], rate: float
) -> tuple[float, float]:
    """Fit the thresholds at which the gate compares fp32 and int8, from their bear probabilities (N,) on tuning crops.

    fp32's is the lowest with at most ``rate`` false positives; int8's is the lowest that passes no more crops without a
    bear. There is no half-way step as in ``fit_threshold``: it would move each graph by its own bears, to different
    false-positive rates.
    """
    reference = lowest_threshold(fp32, bears, int(rate * (~bears).sum()))
    passed = int((fp32[~bears] >= reference).sum())
    return reference, lowest_threshold(int8, bears, passed)


def recall_loss(
    reference: Answers, other: Answers, bears: NDArray[np.bool_], pictures: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the recall that ``other`` loses against ``reference``, and its upper 95 % bound.

    Paired on the same crops. Crops of one picture are not independent, so the variance is that of
    the pictures' sums (a ratio estimator over clusters, Cochran 1977, ch. 6).
    """
    lost = reference.hit[bears].astype(float) - other.hit[bears].astype(float)
    if not reference.hit[bears].any():
        return 0.0, 1.0  # if the reference finds no bear, none can be lost, and nothing is shown
    loss = float(lost.mean())
    _, cluster = np.unique(pictures[bears], return_inverse=True)
    sums = np.bincount(cluster, lost - loss)
    count = len(sums)
    if count < 2:
        return loss, 1.0
    error = float(np.sqrt(count / (count - 1) * (sums**2).sum())) / len(lost)
    upper = loss + Z95_ONE_SIDED * error
    # Without any difference the variance is 0; then the rule of three gives a bound.
    return loss, upper if lost.any() else 3.0 / count


def compare(
    torch_p: NDArray[np.float64],
    fp32_p: NDArray[np.float64],
    bears: NDArray[np.bool_],
    pictures: NDArray[np.int64],
    sources: Sequence[str],
) -> Parity:
    """Compare the fp32 graph with the network: probabilities (N, labels) on the same N crops."""
    difference = float(np.abs(torch_p - fp32_p).max())
    return Parity(
        crops=len(bears),
        pictures=len(np.unique(pictures)),
        sources=tuple(sorted(set(sources))),
        fp32_max_abs_dp=difference,
        passed=difference <= MAX_FP32_DP,
    )


def compare_int8(
    parity: Parity,
    fp32_p: NDArray[np.float64],
    int8_p: NDArray[np.float64],
    fp32: Answers,
    int8: Answers,
    bears: NDArray[np.bool_],
    pictures: NDArray[np.int64],
) -> Parity:
    """Add the int8 graph's figures to the ``parity`` of the fp32 graph, on the same N crops.

    ``fp32`` and ``int8`` have ``gate_thresholds``, which may differ from the alarm's thresholds.
    """
    loss, upper = recall_loss(fp32, int8, bears, pictures)
    agreement = float((fp32.hit == int8.hit).mean())
    return replace(
        parity,
        int8_max_abs_dp=float(np.abs(int8_p - fp32_p).max()),
        int8_recall_loss=loss,
        int8_recall_loss_upper95=upper,
        int8_decision_agreement=agreement,
        fp32_threshold=fp32.threshold,
        int8_threshold=int8.threshold,
        fp32_false_positive_rate=fp32.false_positive_rate(bears),
        int8_false_positive_rate=int8.false_positive_rate(bears),
        passed=parity.passed and upper <= MAX_RECALL_LOSS and agreement >= MIN_AGREEMENT,
    )


def few_frames(parity: Parity, bears: int) -> Parity:
    """Judge the parity of whole pictures, ``bears`` of them with a bear; with few, by the lower bound.

    With few pictures the upper bound of the lost recall exceeds the limit whatever int8 does; so the lower one counts.
    """
    loss = lost_bound(parity)
    if bears >= MIN_FRAME_BEARS or loss is None:
        return parity
    words = (
        f"{bears} test pictures of bears are too few to show a loss of recall below one point: the lower bound counts"
    )
    parity = replace(parity, note=words)
    agreement = parity.int8_decision_agreement or 0.0
    held = parity.fp32_max_abs_dp <= MAX_FP32_DP and (lost_bound(parity) or 0.0) <= MAX_RECALL_LOSS
    return replace(parity, passed=held and agreement >= MIN_AGREEMENT)


def lost_bound(parity: Parity) -> float | None:
    """Return the bound for ``MAX_RECALL_LOSS``: the lost recall's upper bound, or the lower one for few pictures."""
    loss, upper = parity.int8_recall_loss, parity.int8_recall_loss_upper95
    if loss is None or upper is None:
        return None
    return 2 * loss - upper if parity.note else upper


def refuse(parity: Parity, on: str = "") -> None:
    """Raise ParityError for the first gate that fails, of crops and then of whole pictures."""
    # NaN compares as false, so it is refused too.
    if not parity.fp32_max_abs_dp <= MAX_FP32_DP:
        raise ParityError(
            f"the exported graph differs from the trained network by {parity.fp32_max_abs_dp:.2g} in probability{on} "
            f"(allowed {MAX_FP32_DP:g}); this should not happen, please report it"
        )
    bound = lost_bound(parity)
    if bound is not None and not bound <= MAX_RECALL_LOSS:
        may = "misses at least" if parity.note else "may miss up to"
        raise ParityError(
            f"the int8 file {may} {100 * bound:.2f} more of 100 bears than the exact one, fp32{on} (allowed "
            f"{100 * MAX_RECALL_LOSS:g}); write that with --precision fp32, add bears to the test part for a "
            "narrower bound, or write it anyway with --force"
        )
    if parity.int8_decision_agreement is not None and not parity.int8_decision_agreement >= MIN_AGREEMENT:
        raise ParityError(
            f"the int8 file and the exact one, fp32, agree on {100 * parity.int8_decision_agreement:.2f} % of "
            f"{'pictures' if on else 'crops'}{on} (required {100 * MIN_AGREEMENT:g} %); write the exact one with "
            "--precision fp32, or this one with --force"
        )
    if parity.frame:
        refuse(parity.frame, ", looked at whole")


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
