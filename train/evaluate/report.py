"""The report's findings, measured in one pass over a run's test part, and what the page shows of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.detect.card import CARD_VERSION, Card, CropRule, OutOfDomain, Parity, Threshold
from edge.detect.classifier import Classifier
from edge.errors import CatalogError, ModelError
from edge.version import __version__
from train.data.pictures import ALARM_LABELS, LABELS, Picture, table_digest
from train.data.split import name_of, split_rows
from train.evaluate.clips import Clip, Clips, evaluate_clips
from train.evaluate.compare import Comparison, ModelScores, compare, score_model
from train.evaluate.far_bears import RATE, TARGETS, Benchmark, Figures, benchmark_scores, figures
from train.evaluate.held_out import Judge, known_sources, split_digest, unseen
from train.evaluate.stills import Judged, Stills, StillScores, evaluate_stills, scores_of
from train.evaluate.text import share
from train.evaluate.trail_cameras import score_frames
from train.learn.run_folder import read_json, read_settings, run_catalog
from train.metrics.calibration import Reliability, before_temperature, probabilities, reliability
from train.metrics.rates import AtRate, Rate, clustered_rate, recall_at

log = logging.getLogger(__name__)

Track = Callable[[Iterable[Any], str], Iterator[Any]]


@dataclass(frozen=True)
class Findings:
    """The findings of one report."""

    run: RunFiles
    classifier: Classifier
    stills: Stills
    still_scores: StillScores
    benchmark: Benchmark | None  # None if the pictures do not allow one
    figures: Figures | None
    calibration: dict[str, tuple[Reliability, Reliability]]  # crops -> before and after the temperature
    clips: Clips | None
    last: Comparison | None
    last_why: str  # why the last model is not compared; "" if it is, or none was given
    doubts: tuple[str, ...]  # limits of all figures, shown on the page


def find_out(
    run: RunFiles,
    classifier: Classifier,
    clips: Sequence[Clip],
    last: Classifier | None,
    track: Track,
) -> Findings:
    """Measure ``classifier`` on the run's test part, and ``last`` on the same crops."""
    pictures, card, why = run.test, classifier.card, ""
    try:
        benchmark = benchmark_scores(classifier, pictures, follow=lambda views: track(views, "far animals"))
    except CatalogError as error:
        log.warning("%s; the report has no benchmark and no comparison", error)
        benchmark, why = None, str(error)
    stills = evaluate_stills(classifier, track(pictures, "judging pictures"))
    still_scores = scores_of(stills, pictures)
    comparison = None
    if benchmark is not None:
        scores = ModelScores(classifier.name, card, benchmark, still_scores)
        if last is not None:
            comparison, why = compared(last, classifier, scores, run, track)
    return Findings(
        run=run,
        classifier=classifier,
        stills=stills,
        still_scores=still_scores,
        benchmark=benchmark,
        figures=figures(benchmark, card.thresholds["crop"].value) if benchmark is not None else None,
        calibration=calibration(stills.rows, card.temperature, list(card.alarm_columns)),
        clips=evaluate_clips(classifier, track(clips, "watching clips")) if clips else None,
        last=comparison,
        last_why=why if last is not None else "",
        doubts=tuple(may_have_seen(classifier, run)),
    )


def calibration(
    rows: Sequence[Judged], temperature: float, columns: list[int]
) -> dict[str, tuple[Reliability, Reliability]]:
    """Measure reliability before and after the temperature, of crops as they are and of shrunk crops."""
    found = {}
    for words, mode in (("crops as they are", "crop"), ("the same shrunk to 20, 36 and 60 px", "shrunk")):
        some = [row for row in rows if row.mode == mode and row.probabilities]
        if not some:
            continue
        answers = np.array([row.probabilities for row in some])
        bears, files = np.array([row.bear for row in some]), [row.file for row in some]
        plain = before_temperature(answers, temperature)[:, columns].sum(axis=1)
        before, after = (
            reliability(np.clip(scores, 0, 1), bears, files) for scores in (plain, answers[:, columns].sum(axis=1))
        )
        assert before is not None
        assert after is not None
        found[words] = before, after
    return found


def may_have_seen(classifier: Classifier, run: RunFiles) -> Iterator[str]:
    """Yield a sentence if the model is not this run's: it may have seen the run's test part."""
    if belongs(classifier.card.digests, run):
        return
    split = run.settings.get("split_sha256")
    if split and classifier.card.digests.get("split_sha256") == split:
        yield f"{classifier.name} was exported from another training than {run.folder.name}, on the same split"
        return
    known = sorted({picture.source for picture in run.test} & known_sources(classifier.card))
    of = f": it was trained or tuned on pictures of {', '.join(known)}" if known else ""
    yield f"{classifier.name} was not exported from {run.folder.name}, and may have seen these test pictures{of}"


def compared(
    last: Classifier,
    classifier: Classifier,
    scores: ModelScores,
    run: RunFiles,
    track: Track,
) -> tuple[Comparison | None, str]:
    """Compare the last model with this one as ``compare`` does, on test pictures that neither has seen.

    Without such pictures, return None and the reason.
    """
    try:
        seen = unseen(run.test, (last, classifier), run.settings.get("split_sha256"))

        def score(model: Classifier, called: str) -> ModelScores:
            return score_model(model, seen.pictures, track=lambda items, words, *_: track(items, f"{called}: {words}"))

        other = score(last, "the last model")
        # The crops depend on the set of pictures.
        if len(seen.pictures) == len(run.test):
            this = replace(scores, frames=tuple(score_frames([Judge(classifier, seen.pictures)])))
        else:
            this = score(classifier, "this model for comparison")
    except CatalogError as error:
        log.warning("the last model is not compared: %s", error)
        return None, str(error)
    return compare(other, this, seen), ""


STILL_RECALL, TOYS, CALIBRATION = 0.975, 0.02, 0.03


@dataclass(frozen=True)
class Aim:
    """One figure and its target."""

    what: str
    aim: str
    found: str
    met: bool
    certain: bool  # the whole 95 % interval is on that side

    @property
    def words(self) -> str:
        """Return ``met`` or ``not met``, with a note if the interval leaves it open."""
        return ("met" if self.met else "not met") + ("" if self.certain else ", the interval leaves it open")


def still_recall(found: Findings) -> AtRate | None:
    """Measure recall of subject-filling stills at 1 % false positives over all negatives."""
    scores = found.still_scores
    bear, files = scores.bear, scores.files
    return recall_at(scores.score[bear], scores.score[~bear], files[bear], files[~bear], RATE)


def aims(found: Findings) -> list[Aim]:
    """List every target that can be checked with these pictures."""
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
                Aim(
                    "stills: toys taken for bears there",
                    words,
                    share(passed, counts=True),
                    passed.value <= TOYS,
                    certain,
                )
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
    """Check a share that should be high."""
    certain = found.low >= aim or found.high < aim
    return Aim(what, f"at least {100 * aim:g} %", share(found, counts=True), found.value >= aim, certain)


def few(found: AtRate) -> str:
    """Return a note if the others are too few for 1 %."""
    return f" (too few others for 1 %: {found.other_pictures} pictures)" if found.too_few else ""


@dataclass(frozen=True)
class RunFiles:
    """A run without its Learner, so without torch."""

    folder: Path
    settings: dict[str, Any]
    metrics: dict[str, Any]  # empty if the run has none
    root: Path  # the folder of its pictures
    test: tuple[Picture, ...]


def read_files(folder: Path, data: Path | None, aliases: Mapping[str, str]) -> RunFiles:
    """Read the run in ``folder`` and its test pictures, as ``run_catalog`` finds them. Raises CatalogError.

    Changed pictures are reported, and later ones are skipped.
    """
    settings = read_settings(folder)
    catalog = run_catalog(settings, data, aliases)
    parts = {row["file"]: row["split"] for row in split_rows(folder / "split.csv")}
    digest = settings.get("split_sha256")
    if digest and split_digest(folder / "split.csv") != digest:
        raise CatalogError(
            f"{folder / 'split.csv'}: changed since the run was trained, so the test part is not known; restore it or "
            "train the run again"
        )
    known = [picture for picture in catalog.pictures if name_of(picture, catalog.root) in parts]
    if len(known) < len(catalog.pictures):
        log.warning(
            "%d pictures were added after the run was trained and are skipped", len(catalog.pictures) - len(known)
        )
    used = [picture for picture in known if parts[name_of(picture, catalog.root)] in ("train", "tune", "test")]
    if table_digest(used, catalog.root) != settings.get("catalog_sha256"):
        log.warning("pictures or labels changed since %s was trained; the report uses the present ones", folder)
    test = tuple(picture for picture in used if parts[name_of(picture, catalog.root)] == "test")
    if not test:
        raise CatalogError(f"{folder / 'split.csv'}: no picture of the test part is in {catalog.root}; check --data")
    metrics = read_json(folder / "metrics.json") if (folder / "metrics.json").is_file() else {}
    return RunFiles(folder, settings, metrics, catalog.root, test)


def exported(run: RunFiles) -> Path | None:
    """Find the model file exported from this run, in its folder or beside it, int8 before fp32; None if there is none.

    A damaged file is reported and skipped.
    """
    folder = run.folder.resolve()
    near = [*sorted(run.folder.glob("*.onnx")), folder.with_name(folder.name + ".onnx")]  # run.2 -> run.2.onnx
    found = []
    for path in near:
        try:
            card = Classifier(path).card if path.is_file() else None
        except ModelError as error:
            log.warning("%s", error)
            continue
        if card is not None and belongs(card.digests, run):
            found.append((card.precision != "int8", path))
    return min(found)[1] if found else None


def belongs(digests: Mapping[str, str], run: RunFiles) -> bool:
    """Return True if a card is of this run: the same split, and the same Learner if both name one."""
    split, learner = (run.settings.get(name) for name in ("split_sha256", "learner_sha256"))
    same = not learner or digests.get("learner_sha256", learner) == learner
    return bool(split) and digests.get("split_sha256") == split and same


class TrainedNet(Classifier):
    """A trained network before its export, in float32, with the tuning part's temperature and threshold. Needs torch.

    Its ``frame`` threshold is that of crops, because only an export fits one on whole pictures; it has no ood score.
    Raises CatalogError if the run has no figures of its tuning part.
    """

    def __init__(self, run: RunFiles) -> None:  # no ONNX file to open
        from train.learn.inference import CONTEXT
        from train.learn.run import read_run

        found = read_run(run.folder)
        self._temperature = found.temperature
        try:
            limit = Threshold(**{**run.metrics["thresholds"]["all"], "sources": ()})
        except (KeyError, TypeError, ValueError):
            raise CatalogError(
                f"{run.folder / 'metrics.json'}: missing or damaged; export the run and give --model"
            ) from None
        self._run = found
        self.path = Path(run.folder)
        self.digest = str(run.settings.get("learner_sha256") or "0" * 64)
        self.size = found.recipe.size
        self.fallback, self.golden_error = False, 0.0
        self.card = Card(
            card_version=CARD_VERSION,
            name=f"{run.folder.name}, not exported",
            labels=LABELS,
            alarm_labels=ALARM_LABELS,
            input_sizes=(self.size,),
            crop=CropRule(CONTEXT, True, "INTER_AREA", "INTER_LINEAR"),
            temperature=self._temperature,
            thresholds={"crop": limit, "frame": limit},
            prior=0.5,
            ood=OutOfDomain("none", float("inf"), 1.0),
            backbone=found.recipe.backbone,
            precision="fp32",
            quantization=None,
            parity=Parity(0, 0, (), 0.0),
            digests={
                name: str(run.settings[name]) for name in ("split_sha256", "learner_sha256") if run.settings.get(name)
            },
            counts_by_source=dict(run.settings.get("counts_by_source", {})),
            counts_by_licence=dict(run.settings.get("counts_by_licence", {})),
            licence="",
            notice=None,
            golden=(),
            golden_tolerance=0.01,
            created=str(run.settings.get("created", "")),
            tool_version=__version__,
            frame=found.frame,
        )

    def __call__(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return probabilities (N, labels) of uint8 crops (N, size, size, 3) BGR, and zeros for ood (N,)."""
        from train.learn.inference import ask_crops

        logits = ask_crops(self._run.net, self._run.backbone, crops)
        return probabilities(logits, self._temperature).astype(np.float32), np.zeros(len(crops), np.float32)

    def windows(
        self, frames: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Return the windows of frames (N, H, W, 3) as an exported file does, and zeros for ood."""
        from train.learn.inference import ask_frame

        asked = [ask_frame(self._run.net, self._run.backbone, frame) for frame in frames]
        windows = [probabilities(logits, self._run.frame.temperature).astype(np.float32) for logits, _ in asked]
        return np.stack(windows), np.stack([heat for _, heat in asked]), np.zeros(len(frames), np.float32)
