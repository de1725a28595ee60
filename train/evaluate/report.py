"""The page: its sections in order, each from the findings."""

from __future__ import annotations

import logging
import math
import platform
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge import __version__
from edge.detect.card import Card
from edge.detect.classifier import Classifier
from edge.detect.crops import cut
from edge.errors import CatalogError, ModelError, PictureError
from edge.pictures import read_picture
from edge.schema import WHOLE
from train.data.pictures import BEAR_ANY, Picture
from train.evaluate.clips import Clip, Clips, evaluate_clips
from train.evaluate.compare import Comparison, Looked, compare, crop_differences, look_at
from train.evaluate.compare_command import comparison_text
from train.evaluate.far_bears import (
    LEAST,
    RATE,
    TARGETS,
    Benchmark,
    Figures,
    StillScores,
    benchmark_scores,
    figures,
    is_trail,
)
from train.evaluate.held_out import Judge, known_sources, unseen
from train.evaluate.report_html import (
    THUMB_PX,
    area,
    confusion,
    curves,
    learning_curve,
    page,
    paragraph,
    reliability_diagram,
    share,
    table,
    thumbnail,
    thumbs,
)
from train.evaluate.report_run import RunFiles, belongs
from train.evaluate.stills import Judged, Mode, Slice, Stills, evaluate_stills
from train.evaluate.text import clips_text, k_of_n
from train.evaluate.trail_cameras import see_all
from train.metrics import (
    AtRate,
    Difference,
    Rate,
    Reliability,
    before_temperature,
    clustered_rate,
    recall_at,
    reliability,
)

# What the report tells, gathered in one pass over the test part: stills, crops, benchmarks, clips, other models.


log = logging.getLogger(__name__)
Track = Callable[[Iterable[Any], str], Iterator[Any]]


@dataclass(frozen=True)
class Findings:
    """What one report is made of."""

    run: RunFiles
    classifier: Classifier
    stills: Stills
    still_scores: StillScores
    benchmark: Benchmark | None  # None where the pictures do not allow one
    figures: Figures | None
    calibration: dict[str, tuple[Reliability, Reliability]]  # crops -> before and after the temperature
    clips: Clips | None
    last: Comparison | None
    last_why: str  # why the last model is not beside this one, "" where it is or none was given
    doubts: tuple[str, ...]  # what the page must say of all its figures
    fp32: tuple[str, Figures, dict[str, Difference]] | None  # its name, figures, and int8 minus fp32


def find_out(
    run: RunFiles,
    classifier: Classifier,
    clips: Sequence[Clip],
    last: Classifier | None,
    track: Track,
    least: int = LEAST,
) -> Findings:
    """Measure ``classifier`` on the run's test part, and ``last`` and an fp32 file beside it on the same crops.

    ``least`` crops a bin of the benchmark.
    """
    pictures, card, why = run.test, classifier.card, ""
    try:
        benchmark = benchmark_scores(
            classifier, pictures, least=least, follow=lambda views: track(views, "far animals")
        )
    except CatalogError as error:
        log.warning("%s; the report goes without the benchmark and the models beside", error)
        benchmark, why = None, str(error)
    stills = evaluate_stills(classifier, track(pictures, "judging pictures"))
    still_scores = scores_of(stills, pictures)
    beside_it, exact = None, None
    if benchmark is not None:
        looked = Looked(classifier.name, card, benchmark, still_scores)
        if last is not None:
            beside_it, why = compared(last, classifier, looked, run, track, least)
        exact = in_float(classifier, looked, pictures, track, least)
    return Findings(
        run=run,
        classifier=classifier,
        stills=stills,
        still_scores=still_scores,
        benchmark=benchmark,
        figures=figures(benchmark, card.thresholds["crop"].value) if benchmark is not None else None,
        calibration=calibration(stills.rows, card.temperature, list(card.alarm_columns)),
        clips=evaluate_clips(classifier, track(clips, "watching clips")) if clips else None,
        last=beside_it,
        last_why=why if last is not None else "",
        doubts=tuple(may_have_seen(classifier, run)),
        fp32=exact,
    )


def scores_of(stills: Stills, pictures: Sequence[Picture]) -> StillScores:
    """The stills' scores from rows that are there already, without those of trail cameras."""
    trail = {str(picture.file) for picture in pictures if is_trail(picture)}
    toys = {str(picture.file) for picture in pictures if picture.label == "teddy_bear"}
    rows = [row for row in stills.rows if row.mode == "still" and row.file not in trail]
    return StillScores(
        np.array([row.score for row in rows], np.float64),
        np.array([row.bear for row in rows], bool),
        np.array([row.file in toys for row in rows], bool),
        np.array([row.file for row in rows]),
    )


def calibration(
    rows: Sequence[Judged], temperature: float, columns: list[int]
) -> dict[str, tuple[Reliability, Reliability]]:
    """Reliability of the bear probability before and after the temperature: crops as they are, and made small."""
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
    """One sentence where the model is not this run's: then the run's test part may not be held out from it."""
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
    last: Classifier, classifier: Classifier, looked: Looked, run: RunFiles, track: Track, least: int = LEAST
) -> tuple[Comparison | None, str]:
    """The last model beside this one, with the verdict of ``compare``, on test pictures that neither knows.

    Where there are none, None and why.
    """
    try:
        seen = unseen(run.test, (last, classifier), run.settings.get("split_sha256"))

        def look(model: Classifier, called: str) -> Looked:
            return look_at(
                model,
                seen.pictures,
                lambda views: track(views, f"{called}: far animals"),
                lambda rows: track(rows, f"{called}: stills"),
                least,
            )

        other = look(last, "the last model")
        # Which crops there are hangs on which pictures there are.
        if len(seen.pictures) == len(run.test):
            this = replace(looked, frames=tuple(see_all([Judge(classifier, seen.pictures)])))
        else:
            this = look(classifier, "this model beside it")
    except CatalogError as error:
        log.warning("the last model is left out: %s", error)
        return None, str(error)
    return compare(other, this, seen), ""


def in_float(
    classifier: Classifier, looked: Looked, pictures: Sequence[Picture], track: Track, least: int = LEAST
) -> tuple[str, Figures, dict[str, Difference]] | None:
    """The fp32 file that ``export --precision both`` wrote beside an int8 one, on the same crops; None without one."""
    path = Path(classifier.path).with_suffix(".fp32.onnx")
    if classifier.card.precision != "int8" or not path.is_file():
        return None
    try:
        exact = Classifier(path)
    except ModelError as error:
        log.warning("the fp32 file beside the model is left out: %s", error)
        return None
    if exact.card.digests != classifier.card.digests:
        log.warning("%s: is of another run than the model, and is left out", path)
        return None
    benchmark = benchmark_scores(exact, pictures, least=least, follow=lambda views: track(views, "fp32: far animals"))
    crop = exact.card.thresholds["crop"].value, classifier.card.thresholds["crop"].value
    return (
        exact.name,
        figures(benchmark, crop[0]),
        crop_differences(benchmark.made, looked.benchmark.made, crop),
    )


# The report's first table: what is aimed for, what was found, and whether the interval leaves it open.


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


# Which pictures the report shows, and the counts of the confusion matrix.


SHOWN = 24
Thumbs = list[tuple[str, Sequence[str]]]


def confusion_counts(found: Findings) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """Rows (truth, as the table labels), columns (the card's labels) and counts of the crops."""
    columns = list(found.classifier.card.labels)
    rows = [row for row in found.stills.rows if row.mode == "crop" and row.probabilities]
    truth = labels(found)
    names = [*columns, *sorted({truth[row.file] for row in rows} - set(columns))]
    names = [name for name in names if any(truth[row.file] == name for row in rows)]
    counts = np.zeros((len(names), len(columns)), np.int64)
    for row in rows:
        counts[names.index(truth[row.file]), int(np.argmax(row.probabilities))] += 1
    return names, columns, counts


def labels(found: Findings) -> dict[str, str]:
    """File -> its label."""
    return {str(picture.file): picture.label for picture in found.run.test}


def loss(row: Judged, label: str, card: Card) -> float:
    """-log of the probability given to what the picture is; to any bear where the species is not known."""
    if label == BEAR_ANY:
        right = row.score
    else:
        right = row.probabilities[card.labels.index(label)] if label in card.labels else 1.0
    return -math.log(max(right, 1e-9))


def top_losses(found: Findings) -> Thumbs:
    """The crops with the largest loss, worst first."""
    truth, card = labels(found), found.classifier.card
    rows = [row for row in found.stills.rows if row.mode == "crop" and row.probabilities]
    rows.sort(key=lambda row: -loss(row, truth[row.file], card))
    return shown(found, rows[:SHOWN], whole=False)


def misses(found: Findings) -> Thumbs:
    """Every bear among stills that is missed at the model's own threshold or at that of 1 % false positives."""
    at = still_recall(found)
    seen = set(found.still_scores.files.tolist())
    rows = [row for row in found.stills.rows if row.mode == "still" and row.bear and row.file in seen]
    missed = [row for row in rows if not row.alarm or (at is not None and row.score < at.threshold)]
    return shown(found, sorted(missed, key=lambda row: row.score), whole=True)


def false_alarms(found: Findings) -> Thumbs:
    """The stills without a bear that were taken for one at the model's own threshold, surest first."""
    rows = [row for row in found.stills.rows if row.mode == "still" and not row.bear and row.alarm]
    return shown(found, sorted(rows, key=lambda row: -row.score)[:SHOWN], whole=True)


def shown(found: Findings, rows: Sequence[Judged], *, whole: bool) -> Thumbs:
    """Thumbnails of rows: the whole picture, or the crop that was scored."""
    card, truth = found.classifier.card, labels(found)
    thumbs: Thumbs = []
    for row in rows:
        try:
            image = read_picture(row.file)
        except PictureError:
            continue
        if not whole and row.box_xywh != WHOLE:
            image = cut(image, row.box_xywh, THUMB_PX, card.crop.context)
        answer = card.labels[int(np.argmax(row.probabilities))] if row.probabilities else ""
        name = row.file.rsplit("/", 1)[-1]
        lines = [truth[row.file].replace("_", " "), f"p(bear) {row.score:.3f}"]
        lines += [f"answer: {answer.replace('_', ' ')}"] if answer else []
        thumbs.append((thumbnail(image), [*lines, row.note[:40], name] if row.note else [*lines, name]))
    return thumbs


INTERVALS = (
    "In brackets: 95 % intervals that count original pictures, never crops: Wilson on the effective sample size "
    "(Korn & Graubard 1998; Rao & Scott 1992), a bootstrap of whole pictures where the threshold is fitted on the same "
    "crops, Obuchowski (1997) for AUC. Pictures of one source are more alike than the intervals know."
)
MODES: dict[Mode, str] = {"still": "Whole pictures", "crop": "Crops: true boxes, else whole pictures"}
FEW = ", too few others for 1 %"
WIDEST, LEAST_NOTED = 60, 5  # of a slice's name, letters; of a note, pictures: scenes have each a note of its own
BY = {"class": "class", "source": "source", "size": "size", "condition": "day or infrared", "note": "animal"}


def write_page(found: Findings, called: str) -> str:
    """The report as HTML; ``called`` is the command that made it."""
    parts = [
        ("top", f"Report: {found.classifier.name}", top(found, called)),
        ("aims", "What is aimed for", aims_section(found)),
        (
            "misses",
            "Every bear missed among stills",
            thumbs_or(misses(found), "No bear that fills the frame was missed."),
        ),
        ("far", "Far animals (benchmarks A and B)", far(found)),
        ("curves", "Precision, recall and DET", curves_section(found)),
        ("calibration", "Calibration", calibration_section(found)),
        ("confusion", "Confusion matrix", confusion_section(found)),
        ("losses", "Top losses", losses_section(found)),
        ("slices", "By class, source, size, day or infrared, animal", slices(found)),
        ("alarms", "What was taken for a bear", thumbs_or(false_alarms(found), "Nothing was.")),
        ("clips", "Clips, after the decision", clips(found)),
        ("precision", "fp32 beside int8", precision(found)),
        ("last", "The last model beside this one", last(found)),
        ("training", "The training", training(found)),
    ]
    return page(f"Bear Alarm: {found.classifier.name}", parts)


def top(found: Findings, called: str) -> str:
    """What was measured, when and with what."""
    card, settings = found.classifier.card, found.run.settings
    sources = sorted({picture.source for picture in found.run.test})
    bears = sum(row.bear for row in found.stills.rows if row.mode == "still")
    many = f"{found.stills.pictures} pictures of the test part ({bears} with bears), {len(sources)} sources"
    how = f"{card.precision}{', run in float' if found.classifier.fallback else ''}"
    seed = settings.get("recipe", {}).get("seed", "?")
    trained = f"run {found.run.folder.name}, seed {seed}, trained {settings.get('created', '?')}"
    machine = f"{platform.machine()} {platform.system()}, bear-alarm {__version__}"
    words = [
        f"{many}: {', '.join(sources)}.",
        f"{card.backbone}, {how}; {trained}; model of {card.created or '?'}.",
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}: {called}",
    ]
    words += [card.notice] if card.notice else []
    words += [f"{doubt}." for doubt in found.doubts]
    unread = [f"{len(found.stills.unreadable)} could not be read."] if found.stills.unreadable else []
    return (
        "".join(map(paragraph, words + unread))
        + paragraph("This page holds pictures: mind their licences before passing it on.", quiet=True)
        + paragraph(INTERVALS, quiet=True)
    )


def aims_section(found: Findings) -> str:
    """The aims and whether they are met."""
    rows: list[list[str | tuple[str, str]]] = [
        [(aim.what, "words"), aim.aim, aim.found, (aim.words, "met" if aim.met else "not")] for aim in aims(found)
    ]
    stills = still_recall(found)
    note = ""
    if stills is not None:
        passed = f"{stills.threshold:.3f}, which {share(stills.false_positives)} of the others reach"
        few = f"; {stills.other_pictures} are too few others for 1 %" if stills.too_few else ""
        note = f"The stills' threshold for 1 % false positives is {passed}{few}. "
    limits = ", ".join(f"{mode} {limit.value:.3f}" for mode, limit in found.classifier.card.thresholds.items())
    return table(("", "aim", "found", ""), rows) + paragraph(f"{note}The model's own thresholds: {limits}.", quiet=True)


def far(found: Findings) -> str:
    """Benchmark A by size, the animals it goes wrong on, and benchmark B."""
    figures = found.figures
    if figures is None:
        return paragraph("These pictures allow no benchmark: it takes bears and other animals that fill the frame.")
    head = (
        "longer side",
        "crops of bears / others",
        "recall at 1 % of this size",
        "false positives there",
        "recall at 1 % of all sizes",
        "AUC",
    )
    own = ("at the model's threshold: recall", "false positives")
    rows = [
        [
            one.bin,
            f"{one.bears} of {one.bear_pictures} / {one.others} of {one.other_pictures} pictures",
            share(one.own.recall if one.own else None, counts=False) + (FEW if one.own and one.own.too_few else ""),
            share(one.own.false_positives if one.own else None, counts=False),
            share(one.together.recall if one.together else None, counts=False),
            area(one.auc),
            share(one.alarm_recall, counts=False),
            share(one.alarm_false_positives, counts=False),
        ]
        for one in figures.bins
    ]
    names = [one.bin for one in figures.bins]
    kinds = sorted(figures.kinds.items(), key=lambda kind: -max(rate.value for rate in kind[1].values()))
    animals = [
        [kind, str(figures.kind_pictures[kind]), *(share(rates.get(name)) for name in names)] for kind, rates in kinds
    ]
    boxes = [
        [one.bin, *(k_of_n(rate) for rate in (one.at_card, one.at_own, one.at_together))]
        for one in figures.real
        if one.boxes
    ]
    return (
        paragraph(
            "A: held-out bears and other animals that fill their photographs, shrunk as a camera's lens and sensor do, "
            "set into held-out places, saved as JPEG, and cut as the alarm cuts. B: real boxes of trail cameras."
        )
        + table((*head, *own), rows)
        + "".join(paragraph(f"{words}.") for words in figures.doubts)
        + "<h3>False positives by animal</h3>"
        + paragraph(f"At the threshold of 1 % over all sizes together, {figures.threshold:.3f}.", quiet=True)
        + table(("", "pictures", *names), animals)
        + "<h3>Trail-camera bears, x of n</h3>"
        + (
            table(("longer side", "at the model's threshold", "at 1 % of this size", "at 1 % of all sizes"), boxes)
            if boxes
            else paragraph("There are no boxed bears of a trail camera among these pictures.")
        )
    )


def curves_section(found: Findings) -> str:
    """One curve for stills, one for each size of benchmark A."""
    named = {"stills": (found.still_scores.score, found.still_scores.bear)}
    if found.benchmark is not None and found.figures is not None:
        for one in found.figures.bins:
            inside = found.benchmark.made.in_bin(one.bin)
            named[one.bin] = (inside.score, inside.bear)
    note = "The dotted line is 1 % false positives. Precision depends on how many bears there are among the pictures."
    return curves(named) + paragraph(note, quiet=True)


def calibration_section(found: Findings) -> str:
    """The reliability diagrams."""
    note = (
        f"ECE in 15 bins (Guo 2017); temperature {found.classifier.card.temperature:g}, fitted on the tuning part. "
        "What is counted is too high, for chance adds to it: judged is the error without that, in brackets the true "
        "errors that fit what was counted. Where bears are rarer than here, a probability of a half is right less "
        "often."
    )
    rows: list[list[str | tuple[str, str]]] = [
        [
            (f"{words}, {when} the temperature", "words"),
            f"{100 * one.error:.1f} % [{100 * one.low:.1f}–{100 * one.high:.1f}]",
            f"{100 * one.plain:.1f} %",
            f"{100 * one.expected:.1f} %",
            f"{one.n} of {one.pictures} pictures",
        ]
        for words, pair in found.calibration.items()
        for when, one in zip(("before", "after"), pair, strict=True)
    ]
    errors = table(("calibration error", "without chance", "as counted", "a perfect model's as counted", "crops"), rows)
    drawn = "".join(reliability_diagram(*pair, words) for words, pair in found.calibration.items())
    return drawn + errors + paragraph(note, quiet=True)


def confusion_section(found: Findings) -> str:
    """Truth against answer, of crops."""
    return confusion(*confusion_counts(found)) + paragraph("Crops: true boxes, else whole pictures.", quiet=True)


def losses_section(found: Findings) -> str:
    """The crops whose label was given the least probability."""
    return thumbs_or(top_losses(found), "None.") + paragraph(
        "Crops with the largest loss, worst first: some are hard, some are labelled wrongly (`bear-alarm clean`).",
        quiet=True,
    )


def slices(found: Findings) -> str:
    """Recall and false positives at the model's own thresholds, slice by slice."""
    parts = []
    for mode, words in MODES.items():
        rows = [
            [
                BY.get(one.by, one.by),
                one.value[:WIDEST],
                share(one.recall),
                share(one.false_positive_rate),
                area(one.auc),
            ]
            for one in found.stills.slices(mode)
            if one.by != "note" or counted_in(one) >= LEAST_NOTED
        ]
        parts.append(f"<h3>{words}</h3>" + table(("", "", "recall", "false positives", "AUC"), rows))
    return "".join(parts)


def counted_in(one: Slice) -> int:
    """How many crops or pictures a slice has."""
    return sum(rate.n for rate in (one.recall, one.false_positive_rate) if rate is not None)


def clips(found: Findings) -> str:
    """The whole alarm on clips."""
    if found.clips is None:
        return paragraph("There are no clips: a videos.csv beside the pictures, or in their folder videos, names them.")
    return f'<div class="wide"><pre>{_escaped(clips_text(found.clips).strip())}</pre></div>'


def precision(found: Findings) -> str:
    """What the export said of int8, and the fp32 file on the same crops where there is one."""
    card = found.classifier.card
    parity = card.parity
    if card.precision != "int8":
        return paragraph("This model is fp32.")
    rows = [
        ["largest difference in probability, fp32 - int8", f"{parity.int8_max_abs_dp or 0:.3f}"],
        ["recall lost at the same false positives, points", f"{100 * (parity.int8_recall_loss or 0):+.2f}"],
        ["upper 95 % bound", f"{100 * (parity.int8_recall_loss_upper95 or 0):+.2f}"],
        ["decisions that agree", f"{100 * (parity.int8_decision_agreement or 0):.2f} %"],
    ]
    inner = table((f"the export's gate, {parity.crops:,} crops of {parity.pictures} pictures", ""), rows)
    if found.fp32 is None:
        return inner + paragraph(
            "No fp32 file lies beside the model; `bear-alarm export --precision both` writes one, and the report then "
            "measures both on the same crops."
        )
    name, _, differences = found.fp32
    return (
        inner
        + f"<h3>On the same far animals: {_escaped(name)}</h3>"
        + table(
            ("", "fp32", "int8", "int8 - fp32", "p"),
            [
                [
                    what,
                    f"{one.old:.3f}",
                    f"{one.new:.3f}",
                    f"{one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]",
                    f"{one.p:.3f}",
                ]
                for what, one in differences.items()
            ],
        )
    )


def last(found: Findings) -> str:
    """The paired comparison with the last model."""
    if found.last is None:
        if found.last_why:
            return paragraph(f"The last model is not put beside this one: {found.last_why}.")
        return paragraph("No last model was given; --last OLD.onnx puts one beside this, with a paired test.")
    return f'<div class="wide"><pre>{_escaped(comparison_text(found.last))}</pre></div>'


def training(found: Findings) -> str:
    """Learning curve and recipe."""
    history = found.run.metrics.get("history") or []
    recipe = [[str(key), str(value)] for key, value in (found.run.settings.get("recipe") or {}).items()]
    return (learning_curve(history) if history else "") + table(("recipe", ""), recipe)


def thumbs_or(pictures: Sequence[tuple[str, Sequence[str]]], otherwise: str) -> str:
    """Thumbnails, or a sentence."""
    return thumbs(pictures) if pictures else paragraph(otherwise)


def _escaped(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
