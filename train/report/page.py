"""The page: its sections in order, each from the findings."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime

from edge import __version__
from train.benchmark.text import counted
from train.judging.compare_command import comparison_text
from train.judging.evaluate import Mode, Slice
from train.judging.evaluate_text import clips_text
from train.report.aims import aims, still_recall
from train.report.drawings import confusion, curves, learning_curve, reliability_diagram
from train.report.findings import Findings
from train.report.markup import area, page, paragraph, share, table, thumbs
from train.report.pictures import confusion_counts, false_alarms, misses, top_losses

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
        [one.bin, *(counted(rate) for rate in (one.at_card, one.at_own, one.at_together))]
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
