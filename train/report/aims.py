"""The report's first table: what is aimed for, what was found, and whether the interval leaves it open."""

from __future__ import annotations

from dataclasses import dataclass

from train.benchmark.figures import RATE, TARGETS
from train.metrics import AtRate, Rate, clustered_rate, recall_at
from train.report.findings import Findings
from train.report.markup import share

STILL_RECALL, TOYS, CALIBRATION = 0.975, 0.02, 0.03


@dataclass(frozen=True)
class Aim:
    """One figure against its aim."""

    what: str
    aim: str
    found: str
    met: bool
    certain: bool  # the 95 % interval lies on that side whole

    @property
    def words(self) -> str:
        """``met``, ``not met``, or with a doubt."""
        return ("met" if self.met else "not met") + ("" if self.certain else ", the interval leaves it open")


def still_recall(found: Findings) -> AtRate | None:
    """Recall of subject-filling stills at 1 % false positives over all negatives."""
    scores = found.still_scores
    bear, files = scores.bear, scores.files
    return recall_at(scores.score[bear], scores.score[~bear], files[bear], files[~bear], RATE)


def aims(found: Findings) -> list[Aim]:
    """Every aim that these pictures allow to be looked at."""
    listed = []
    stills = still_recall(found)
    if stills is not None:
        what = "stills: recall at 1 % false positives over all negatives"
        listed.append(at_least(what + few(stills), stills.recall, STILL_RECALL))
        toys = found.still_scores.toy
        passed = clustered_rate(found.still_scores.score[toys] >= stills.threshold, found.still_scores.files[toys])
        if passed is not None:
            words = f"at most {100 * TOYS:g} %"
            certain = passed.high <= TOYS or passed.low > TOYS
            listed.append(
                Aim("stills: toys taken for bears there", words, share(passed), passed.value <= TOYS, certain)
            )
    for one in found.figures.bins if found.figures is not None else ():
        if one.bin in TARGETS and one.own is not None:
            listed.append(
                at_least(
                    f"far animals, {one.bin}: recall at 1 % false positives{few(one.own)}",
                    one.own.recall,
                    TARGETS[one.bin],
                )
            )
    for words, (_, after) in found.calibration.items():
        listed.append(
            Aim(
                f"calibration error, {words}, without what chance adds",
                f"at most {100 * CALIBRATION:g} %",
                f"{100 * after.error:.1f} % [{100 * after.low:.1f}–{100 * after.high:.1f}]",
                after.error <= CALIBRATION,
                after.high <= CALIBRATION or after.low > CALIBRATION,
            )
        )
    card = found.classifier.card
    if card.precision == "int8":
        upper = card.parity.int8_recall_loss_upper95 or 0.0
        passed_gate = card.parity.passed and not card.parity.forced
        listed.append(
            Aim("int8: the export's gate", "holds", f"recall loss at most {100 * upper:+.2f} points", passed_gate, True)
        )
    return listed


def at_least(what: str, found: Rate, aim: float) -> Aim:
    """A share that should be high."""
    certain = found.low >= aim or found.high < aim
    return Aim(what, f"at least {100 * aim:g} %", share(found), found.value >= aim, certain)


def few(found: AtRate) -> str:
    """A mark where the others are too few for 1 %."""
    return f" (too few others for 1 %: {found.other_pictures} pictures)" if found.too_few else ""
