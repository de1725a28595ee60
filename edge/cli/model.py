"""``bear-alarm model``: show, check and choose the model file."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli.help_page import command_group
from edge.cli.output import JsonOpt, line_width, print_json, wrapped
from edge.errors import ModelError, OptionError

if TYPE_CHECKING:
    from edge.detect.card import Parity
    from edge.detect.classifier import Classifier

log = logging.getLogger(__name__)

LABEL = 14  # characters of the name before a row; with a digest behind it, 80
MAX_NAMED = 2  # sources and licences that are named

app = command_group(no_args_is_help=True, help="Show, check or choose the model file.")

ModelArgument = Annotated[
    str | None, typer.Argument(metavar="[MODEL]", help="Model file (default: the one the alarm would use).")
]


@app.command()
def show(
    model: ModelArgument = None,
    as_json: JsonOpt = False,
) -> None:
    """Print a model's card: what it knows, how well, on what it was measured, and its licence."""
    classifier = _open(model)
    if as_json:
        print_json(facts(classifier))
    else:
        print(card_text(classifier))


@app.command()
def check(model: ModelArgument = None) -> None:
    """Load a model and recompute its golden vectors; exit code 2 when it is refused."""
    print(verdict(_open(model)))


@app.command()
def use(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Model file to use from now on.")] = None,
    bundled: Annotated[bool, typer.Option("--bundled", help="Go back to the model that ships.")] = False,
) -> None:
    """Choose the model that watch and classify use. It is checked first; the model before it is saved beside it."""
    from edge.detect.classifier import ENVIRONMENT, chosen, previous
    from edge.files import replace_whole

    own, before = chosen(), previous()
    if own is None or before is None:
        raise OptionError(f"this user has no home folder to keep a model in; set ${ENVIRONMENT} to the file")
    if bundled == (model is not None):
        raise OptionError("name one model file, or --bundled for the one that ships")
    if model is None:
        if own.exists() and usable(own):
            own.replace(before)
            log.info("the model used until now is saved in %s", before)
        own.unlink(missing_ok=True)
        print(verdict(_open(None)))
        log.info("using the model that ships from now on; a running alarm takes it up when it starts again")
        return
    classifier = _open(model)
    data = classifier.path.read_bytes()
    try:
        own.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{own.parent}: cannot be made ({error.strerror})") from None
    if own.exists() and own.read_bytes() != data and usable(own):
        replace_whole(before, own.read_bytes())  # only a good model is worth keeping as the last good one
    replace_whole(own, data)
    print(verdict(classifier))
    log.info("using it from now on (%s); a running alarm takes it up when it starts again", own)


def usable(path: Path) -> bool:
    """Return whether a model file loads and computes rightly here."""
    from edge.detect.classifier import Classifier

    try:
        Classifier(path)
    except ModelError:
        return False
    return True


def _open(model: str | None) -> Classifier:
    from edge.detect.classifier import Classifier, find

    return Classifier(find(model))


def verdict(classifier: Classifier) -> str:
    """Return the result of a check that a model passed."""
    return f"{classifier.path}: good. {classifier.name} {computed(classifier)}"


def computed(classifier: Classifier) -> str:
    """Return how this machine computes the model, and how exactly."""
    card = classifier.card
    how = "in float, since this processor computes int8 wrongly" if classifier.fallback else f"in {card.precision}"
    return (
        f"runs {how}; {len(card.golden)} golden vectors within {classifier.golden_error:.4f} "
        f"(allowed {card.golden_tolerance})"
    )


def facts(classifier: Classifier) -> dict[str, Any]:
    """Return the card and what this machine makes of it, ready for JSON; golden pictures are only counted."""
    card = asdict(classifier.card)
    card["golden"], card["golden_frames"] = len(classifier.card.golden), len(classifier.card.golden_frames)
    return {
        "file": str(classifier.path),
        "name": classifier.name,
        "sha256": classifier.digest,
        "bytes": classifier.path.stat().st_size,
        "float_fallback": classifier.fallback,
        "golden_error": classifier.golden_error,
        "card": card,
    }


def card_text(classifier: Classifier) -> str:
    """Return the card for a person: one screen, as wide as the terminal; ``--json`` has all of it."""
    from edge.detect.card import input_format

    card = classifier.card
    quiet = ", ".join(name.replace("_", " ") for name in card.labels if name not in card.alarm_labels)
    sizes = " or ".join(str(size) for size in card.input_sizes)
    lines = [
        f"{classifier.name}  ({classifier.path}, {classifier.path.stat().st_size / 1e6:.1f} MB)",
        *row("made", f"{card.created[:10]} by bear-alarm {card.tool_version}"),
        *row("network", f"{card.backbone}, {card.precision}, {sizes} pixels square"),
        *row("input", card.input_format or input_format(card.input_sizes)),
        *row("raises alarm", card.bear_means),
        *row("stays quiet", quiet),
        *row("licence", card.licence),
        *(row("NOTICE", card.notice) if card.notice else []),
        *row("here", computed(classifier)),
        *row("SHA-256", classifier.digest),
        "",
        "Thresholds, and what they do on the tuning pictures (for your own: evaluate)",
    ]
    for mode, limit in card.thresholds.items():
        name, what = ("watch", "crops") if mode == "crop" else ("classify", "pictures")
        of = "" if limit.bear_pictures in (None, limit.n_bear) else f" of {limit.bear_pictures} pictures"
        others = "" if limit.no_bear_pictures in (None, limit.n_no_bear) else f" of {limit.no_bear_pictures} pictures"
        lines += row(
            name,
            f"{limit.value:.3f}: recall {limit.recall:.3f} of {limit.n_bear} bear {what}{of}, "
            f"false positives {limit.false_positive_rate:.3f} of {limit.n_no_bear}{others}",
        )
    lines += ["", f"The exact file and int8, on {card.parity.crops} degraded crops of {card.parity.pictures} pictures"]
    lines += [line for name, words in parity(card.parity) for line in row(name, words)]
    if card.parity.frame:
        lines += ["", f"The same on {card.parity.frame.pictures} whole pictures"]
        lines += [line for name, words in parity(card.parity.frame) for line in row(name, words)]
    lines += ["", f"Trained on {sum(card.counts_by_source.values())} pictures"]
    lines += [*row("sources", most(card.counts_by_source)), *row("licences", most(card.counts_by_licence))]
    lines += ["", "The rest, with the digests of the training table and the split: --json"]
    return "\n".join(lines)


def row(name: str, words: str) -> list[str]:
    """Return a row: a name, and words wrapped beside it."""
    first, rest = f"  {name + ' ':<{LABEL}}", " " * (LABEL + 2)
    return wrapped(words, line_width(), first, rest)


def most(counts: dict[str, int]) -> str:
    """Return the largest two of the counts, and how many more there are."""
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    named = ranked if len(ranked) <= MAX_NAMED + 1 else ranked[:MAX_NAMED]
    more = f" and {len(ranked) - len(named)} more" if len(named) < len(ranked) else ""
    return ", ".join(f"{name} {n}" for name, n in named) + more


def parity(found: Parity) -> list[tuple[str, str]]:
    """Return what the export measured between torch, fp32 and int8."""
    lines = [("fp32", f"probabilities within {found.fp32_max_abs_dp:.1e} of torch's")]
    if found.int8_max_abs_dp is not None:
        same = found.int8_decision_agreement
        decided = "" if same is None else f", {same * 100:.2f} % of the decisions the same"
        lines.append(("int8", f"probabilities within {found.int8_max_abs_dp:.3f} of fp32's{decided}"))
    if found.fp32_false_positive_rate is not None and found.int8_false_positive_rate is not None:
        rates = f"fp32 {100 * found.fp32_false_positive_rate:.2f} %, int8 {100 * found.int8_false_positive_rate:.2f} %"
        lines.append(("false positives", f"{rates} at the gate's thresholds"))
    if found.int8_recall_loss is not None:
        upper = found.int8_recall_loss_upper95
        bound = "" if upper is None else f" (95 %: {points(upper, bound=True)})"
        lines.append(("int8 recall", f"{points(found.int8_recall_loss)}{bound}"))
    if found.note:
        lines.append(("note", found.note))
    if found.forced:
        lines.append(("FORCED", "it failed the gate and was exported all the same"))
    elif not found.passed:
        lines.append(("FAILED", "it did not pass the gate"))
    return lines


def points(loss: float, *, bound: bool = False) -> str:
    """Return a loss of recall in words: points gained or lost; as an upper bound, at least gained or at most lost."""
    least_or_most = ("at least " if loss < 0 else "at most ") if bound else ""
    return f"{least_or_most}{abs(loss) * 100:.2f} points {'gained' if loss < 0 else 'lost'}"
