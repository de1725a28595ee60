"""torch vs fp32 vs int8 on the same degraded crops of the test groups; refuses what falls below the gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.card import Parity
from edge.errors import BearAlarmError

MIN_CROPS = 2000
MAX_FP32_DP = 1e-4
MAX_RECALL_LOSS = 0.01  # upper 95 % bound
MIN_AGREEMENT = 0.975
Z95_ONE_SIDED = 1.6449


class ParityError(BearAlarmError, ValueError):
    """The exported graph does not do what the trained network does."""


@dataclass(frozen=True)
class Answers:
    """One network's bear probabilities on the test crops, and the threshold it goes by."""

    bear: NDArray[np.float64]  # (N,)
    threshold: float


def recall_loss(
    reference: Answers, other: Answers, bears: NDArray[np.bool_], pictures: NDArray[np.int64]
) -> tuple[float, float]:
    """How much recall ``other`` loses against ``reference``, and the upper 95 % bound.

    Paired on the same crops. Crops of one picture are not independent, so the variance is that of
    the pictures' sums (a ratio estimator over clusters, Cochran 1977, ch. 6).
    """
    hit, other_hit = reference.bear >= reference.threshold, other.bear >= other.threshold
    lost = hit[bears].astype(float) - other_hit[bears].astype(float)
    if not len(lost):
        return 0.0, 1.0
    loss = float(lost.mean())
    _, cluster = np.unique(pictures[bears], return_inverse=True)
    sums = np.bincount(cluster, lost - loss)
    count = len(sums)
    if count < 2:
        return loss, 1.0
    error = float(np.sqrt(count / (count - 1) * (sums**2).sum())) / len(lost)
    upper = loss + Z95_ONE_SIDED * error
    # Where no picture tells the two apart the variance says nothing; the rule of three does.
    return loss, upper if lost.any() else 3.0 / count


def compare(
    torch_p: NDArray[np.float64],
    fp32_p: NDArray[np.float64],
    fp32: Answers,
    int8_p: NDArray[np.float64] | None,
    int8: Answers | None,
    bears: NDArray[np.bool_],
    pictures: NDArray[np.int64],
    sources: Sequence[str],
) -> Parity:
    """The parity figures of probabilities (N, labels) on the same N crops; ``passed`` says whether the gates hold."""
    fp32_dp = float(np.abs(torch_p - fp32_p).max())
    common = {"crops": len(bears), "pictures": len(np.unique(pictures)), "sources": tuple(sorted(set(sources)))}
    if int8 is None or int8_p is None:
        return Parity(**common, fp32_max_abs_dp=fp32_dp, passed=fp32_dp <= MAX_FP32_DP)  # type: ignore[arg-type]
    loss, upper = recall_loss(fp32, int8, bears, pictures)
    agreement = float(((fp32.bear >= fp32.threshold) == (int8.bear >= int8.threshold)).mean())
    return Parity(
        **common,  # type: ignore[arg-type]
        fp32_max_abs_dp=fp32_dp,
        int8_max_abs_dp=float(np.abs(int8_p - fp32_p).max()),
        int8_recall_loss=loss,
        int8_recall_loss_upper95=upper,
        int8_decision_agreement=agreement,
        passed=fp32_dp <= MAX_FP32_DP and upper <= MAX_RECALL_LOSS and agreement >= MIN_AGREEMENT,
    )


def refuse(parity: Parity) -> None:
    """Raises ParityError naming the first gate that does not hold."""
    if parity.fp32_max_abs_dp > MAX_FP32_DP:
        raise ParityError(
            f"the exported graph differs from the trained network by {parity.fp32_max_abs_dp:.2g} in probability "
            f"(allowed {MAX_FP32_DP:g}); this should not happen, please report it"
        )
    if parity.int8_recall_loss_upper95 is not None and parity.int8_recall_loss_upper95 > MAX_RECALL_LOSS:
        raise ParityError(
            f"int8 may lose up to {100 * parity.int8_recall_loss_upper95:.2f} points of recall "
            f"(allowed {100 * MAX_RECALL_LOSS:g}); export with --precision fp32, add bears to the test part, or --force"
        )
    if parity.int8_decision_agreement is not None and parity.int8_decision_agreement < MIN_AGREEMENT:
        raise ParityError(
            f"int8 and fp32 agree on {100 * parity.int8_decision_agreement:.2f} % of decisions "
            f"(required {100 * MIN_AGREEMENT:g} %); export with --precision fp32 or --force"
        )
