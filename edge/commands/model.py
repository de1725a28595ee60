"""``bear-alarm model``: show, check and choose the model file."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import ModelError, OptionError

if TYPE_CHECKING:
    from edge.card import Card
    from edge.classifier import Classifier

log = logging.getLogger(__name__)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Show, check or choose the model file.",
)

ModelArgument = Annotated[
    str | None, typer.Argument(metavar="[MODEL]", help="Model file; left out, the one the alarm would use.")
]


@app.command()
def show(
    model: ModelArgument = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
) -> None:
    """Print a model's card: what it knows, how well, on what it was measured, and its licence."""
    classifier = _open(model)
    if as_json:
        print(json.dumps(facts(classifier), indent=2, ensure_ascii=False))
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
    """Choose the model that watch and classify use. It is checked first; the one before it is kept."""
    from edge.atomic import replace_whole
    from edge.models import ENVIRONMENT, chosen, previous

    own, before = chosen(), previous()
    if own is None or before is None:
        raise OptionError(f"this user has no home folder to keep a model in; set ${ENVIRONMENT} to the file")
    if bundled == (model is not None):
        raise OptionError("name one model file, or --bundled for the one that ships")
    if model is None:
        if own.exists() and usable(own):
            own.replace(before)
            log.info("the model chosen until now is kept in %s", before)
        own.unlink(missing_ok=True)
        print(verdict(_open(None)))
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
    """Whether a model file loads and computes rightly here."""
    from edge.classifier import Classifier

    try:
        Classifier(path)
    except ModelError:
        return False
    return True


def _open(model: str | None) -> Classifier:
    from edge.classifier import Classifier
    from edge.models import find

    return Classifier(find(model))


def verdict(classifier: Classifier) -> str:
    """One sentence on a model that was accepted."""
    card = classifier.card
    how = "in float, since this processor computes int8 wrongly" if classifier.fallback else f"in {card.precision}"
    return (
        f"{classifier.path}: good. {classifier.name} runs {how}; {len(card.golden)} golden vectors within "
        f"{classifier.golden_error:.4f} (allowed {card.golden_tolerance})"
    )


def facts(classifier: Classifier) -> dict[str, Any]:
    """The card and what this machine makes of it, ready for JSON; golden pictures are only counted."""
    card = asdict(classifier.card)
    card["golden"] = len(classifier.card.golden)
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
    """The card for a person, some forty lines."""
    card = classifier.card
    lines = [
        f"{classifier.name}  ({classifier.path}, {classifier.path.stat().st_size / 1e6:.1f} MB)",
        f"  made          {card.created} by bear-alarm {card.tool_version}",
        f"  network       {card.backbone}, {card.precision}" + (f" ({card.quantization})" if card.quantization else ""),
        f"  input         {' or '.join(str(size) for size in card.input_sizes)} pixels square",
        f"  raises alarm  {card.bear_means}",
        f"  stays quiet   {', '.join(name.replace('_', ' ') for name in card.labels if name not in card.alarm_labels)}",
        f"  licence       {card.licence}",
    ]
    if card.notice:
        lines.append(f"  NOTICE        {card.notice}")
    lines += ["", "Thresholds (fitted on pictures not trained on)"]
    for mode, limit in card.thresholds.items():
        lines.append(
            f"  {mode:<6}{limit.value:7.3f}  recall {limit.recall:.3f} of {limit.n_bear} bears, "
            f"false positives {limit.false_positive_rate:.3f} of {limit.n_no_bear}; sources: {', '.join(limit.sources)}"
        )
    ood = f"{card.ood.method} > {card.ood.threshold:.3f}"
    lines += [f"  temperature {card.temperature:.3f}, prior {card.prior:.3f}, ood {ood}"]
    lines += ["", "Parity of the export", *parity_lines(card)]
    lines += ["", "Trained on", *_counts("source", card.counts_by_source), *_counts("licence", card.counts_by_licence)]
    lines += ["", "Digests (SHA-256)", *(f"  {name:<14}{digest}" for name, digest in card.digests.items())]
    lines += [f"  {'this file':<14}{classifier.digest}", "", verdict(classifier)]
    return "\n".join(lines)


def parity_lines(card: Card) -> list[str]:
    """What the export measured between torch, fp32 and int8, one line each."""
    parity = card.parity
    lines = [
        f"  {parity.crops} degraded crops of {parity.pictures} pictures",
        f"  torch - fp32   largest difference in probability {parity.fp32_max_abs_dp:.2e}",
    ]
    if parity.int8_max_abs_dp is not None:
        lines.append(f"  fp32 - int8    largest difference in probability {parity.int8_max_abs_dp:.3f}")
    if parity.int8_recall_loss is not None:
        upper = parity.int8_recall_loss_upper95
        most = "" if upper is None else f", at most {upper * 100:.2f} (95 %)"
        lines.append(f"  int8 recall    {parity.int8_recall_loss * 100:.2f} points lost{most}")
    if parity.int8_decision_agreement is not None:
        lines.append(f"  int8 decisions {parity.int8_decision_agreement * 100:.2f} % as in fp32")
    if parity.forced:
        lines.append("  FORCED: it failed the gate and was exported all the same")
    elif not parity.passed:
        lines.append("  FAILED the gate")
    return lines


def _counts(what: str, counts: dict[str, int]) -> list[str]:
    total = sum(counts.values())
    ranked = sorted(counts.items(), key=lambda item: -item[1])
    return [f"  {total} pictures by {what}: " + ", ".join(f"{name} {n}" for name, n in ranked)]
