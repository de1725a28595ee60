"""``bear-alarm model``: show and check model files, and choose the one the alarm uses."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.cli.events.command import StateOpt
from edge.cli.help_page import command_group
from edge.cli.model_keys import keygen, sign, trust
from edge.cli.model_update import update
from edge.cli.options import ConfigOpt, target_of
from edge.cli.output import JsonOpt, line_width, print_json, wrapped
from edge.errors import ModelError, OptionError
from edge.minisign import PublicKey
from edge.model_store import LIST, Entry, Installed, ModelStore

if TYPE_CHECKING:
    from edge.cli.doctor.findings import Target
    from edge.detect.card import Parity
    from edge.detect.classifier import Classifier
    from edge.update.trial import TrialCounts

log = logging.getLogger(__name__)

LABEL = 14  # characters of the name before a row; with a digest behind it, 80
MAX_NAMED = 2  # sources and licences that are named

app = command_group(no_args_is_help=True, help="Show, check, choose, sign and update models.")

ModelArgument = Annotated[
    str | None, typer.Argument(metavar="[MODEL]", help="Model file (default: the one the alarm would use).")
]


@app.command()
def show(
    model: ModelArgument = None,
    installed: Annotated[
        bool, typer.Option("--installed", help="List what is installed instead, and which keys are trusted.")
    ] = False,
    config: ConfigOpt = None,
    state: StateOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Print a model's card: what it knows, how well, on what it was measured, and its licence."""
    if installed:
        if model is not None:
            raise OptionError("--installed lists the models of the device; give it without a MODEL")
        store = ModelStore.of(_target(config, state).state)
        listed = store.read()
        tried = _tried(store, listed)
        if as_json:
            print_json(asdict(listed) | {"folder": str(store.folder), "tried": asdict(tried) if tried else None})
        else:
            print(installed_text(listed, store.folder, tried))
        return
    classifier = _open(model, config, state)
    if as_json:
        print_json(facts(classifier))
    else:
        print(card_text(classifier))


@app.command()
def check(model: ModelArgument = None, config: ConfigOpt = None, state: StateOpt = None) -> None:
    """Load a model and recompute its golden vectors; exit code 2 when it is refused."""
    print(verdict(_open(model, config, state)))


@app.command()
def use(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="Model file to use from now on.")] = None,
    bundled: Annotated[bool, typer.Option("--bundled", help="Go back to the model that ships.")] = False,
    config: ConfigOpt = None,
    state: StateOpt = None,
) -> None:
    """Choose the model that the alarm uses. It is checked first, and copied; the one before is saved for `rollback`.

    A running alarm of a config takes it up within seconds, any other when it starts again.
    """
    from edge.detect.classifier import BUNDLED, Classifier, left_by_older

    if bundled == (model is not None):
        raise OptionError("name one model file, or --bundled for the one that ships")
    target = _target(config, state)
    store = ModelStore.of(target.state)
    classifier = Classifier(BUNDLED if model is None else Path(model).expanduser())
    waited = store.read().waiting
    if model is None:
        store.change(lambda each: each.used(None))
        for own in left_by_older()[:1]:  # it would go before the one that ships
            try:
                log.info("the model used until now is saved in %s", own.replace(own.with_name("model.previous.onnx")))
            except OSError as error:
                raise OptionError(f"{own}: cannot be renamed ({error.strerror}); use sudo") from None
    else:
        _put(classifier, store)
    if waited and waited.sha256 != classifier.digest:
        print(f"{waited.name} is removed, and is no longer tried")
    _print_used(classifier, target)


@app.command()
def rollback(config: ConfigOpt = None, state: StateOpt = None) -> None:
    """Go back to the model before the one in use; where a new model is tried beside that, only remove the new one."""
    from edge.detect.classifier import ships, take

    target = _target(config, state)
    store = ModelStore.of(target.state)
    listed = store.read()
    before = listed.rolled_back().current

    def back(held: Installed) -> Installed:
        if held.waiting != listed.waiting or held.rolled_back().current != before:
            raise OptionError(
                "the models were changed meanwhile; see `bear-alarm model show --installed`, and try again"
            )
        return held.rolled_back()

    if listed.waiting:
        store.change(back)
        print(f"{listed.waiting.name} is removed, and is no longer tried; the model in use stays")
        return
    # First: a bad one changes nothing.
    classifier = take(store.slot(before), before.sha256) if before else take(ships()[0])
    store.change(back)
    _print_used(classifier, target)


def _target(config: Path | None, state: Path | None) -> Target:
    target = target_of(config, state)
    os.environ.update(target.environment)  # where an older version kept the service's choice
    return target


def _open(model: str | None, config: Path | None, state: Path | None) -> Classifier:
    from edge.detect.classifier import Classifier, find

    if model is not None:
        return Classifier(find(model))
    target = _target(config, state)
    return Classifier(find(target.settings.model, target.state))


def _put(classifier: Classifier, store: ModelStore) -> None:
    """Copy a good model into the store, as the current one. Raises ModelError and OptionError."""
    from edge.detect.classifier import file_digest
    from edge.update.fetch import LARGEST
    from edge.update.install import copied, copy_file

    path, sha256 = classifier.path, classifier.digest
    known = {each.sha256: each for each in store.read().entries}  # perhaps signed
    entry = known.get(sha256) or Entry(sha256, classifier.name, source=str(path.absolute()))
    with store.updating(), copied(store, str(path), partial(copy_file, path), LARGEST) as copy:
        if file_digest(copy) != sha256:
            raise ModelError(f"{path}: it was changed while it was read; try again")
        store.put(copy, entry, None, lambda each: each.used(entry))


def _print_used(classifier: Classifier, target: Target) -> None:
    from edge.detect.classifier import ENVIRONMENT

    print(verdict(classifier))
    if target.settings.model:
        log.warning("%s names another model, which the alarm uses: remove `model:` there", target.config)
    elif os.environ.get(ENVIRONMENT):
        log.warning("$%s names another model, which goes before: unset it", ENVIRONMENT)
    else:
        log.info("in use from now on; an alarm of a config takes it up within seconds, any other at its next start")


def _tried(store: ModelStore, listed: Installed) -> TrialCounts | None:
    """Return what the trial of the new model has counted; None where none is tried. Raises ModelError."""
    from edge.detect.classifier import file_digest, ships
    from edge.update.trial import read_counts

    if listed.waiting is None:
        return None
    old = listed.current.sha256 if listed.current else file_digest(ships()[0])
    return read_counts(store, listed.waiting.sha256, old)


def installed_text(listed: Installed, folder: Path, tried: TrialCounts | None) -> str:
    """Return what is installed for a person: the models, and the keys that are trusted."""
    lines = [f"Models in {folder}", *row("in use", _words(listed.current))]
    if listed.current or listed.previous:
        lines += row("before it", _words(listed.previous))
    if listed.waiting:
        lines += row("the new model", _words(listed.waiting))
    if tried:
        lines += row("is tried", tried.words if tried.hours or tried.kept else "nothing has been counted yet")
    keys = [PublicKey.of(each, LIST).name for each in listed.keys]
    lines += row("trusts", f"the {'key' if len(keys) == 1 else 'keys'} {' and '.join(keys)}" if keys else "no key")
    if listed.serial or listed.key_serial:
        lines += row("serial", f"models {listed.serial}, keys {listed.key_serial}; the same or a lower one is refused")
    return "\n".join(lines)


def _words(entry: Entry | None) -> str:
    from edge.detect.classifier import left_by_older

    if entry is None:
        return "the model that ships" if not left_by_older() else f"{left_by_older()[0]}, by hand in an older version"
    how = "by hand, without a signature" if entry.key is None else f"serial {entry.serial}, signed by {entry.key}"
    return f"{entry.name}, {how}{f', from {entry.source}' if entry.source else ''}"


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


for each in (keygen, sign, trust, update):
    app.command()(each)
