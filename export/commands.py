"""The ``export`` command."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edge.detect.card import Card, Mode, Parity, Threshold


MIN_RECALL = 0.5  # of the tuning bears; below it a model is useless
MIN_BEARS = 20  # in the tuning part


class Precision(StrEnum):
    """The files to write."""

    int8 = "int8"
    fp32 = "fp32"
    both = "both"


def export(
    run: Annotated[Path, typer.Argument(help="The folder `bear-alarm train` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model file to write.")] = Path("bear.onnx"),
    precision: Annotated[
        Precision, typer.Option(help="int8 is small and fast; fp32 is exact; both writes out and out.fp32.onnx.")
    ] = Precision.int8,
    data: Annotated[Path | None, typer.Option(help="The folder of the run's pictures, if they moved.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="The --label options the run was trained with.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence line for the model's card.")] = None,
    force: Annotated[bool, typer.Option(help="Write it although a gate fails; the card then says so.")] = False,
) -> None:
    """Turn a trained run into the one file the alarm needs.

    The file has its own card: labels, thresholds, calibration, licence, and inputs with known answers, with which a
    device checks its arithmetic. Before anything is written, the exported network is compared with the trained one on
    at least 2,000 degraded crops of the test part.
    """
    from train.learn import wait_asleep

    wait_asleep()
    from edge.cli.output import track
    from export.artefact import export_run
    from train.data.pictures import parse_labels
    from train.learn.run import read_run
    from train.learn.run_folder import run_catalog

    trained = read_run(run)
    catalog = run_catalog(trained.settings, data, parse_labels(label or []))
    wanted = ["int8", "fp32"] if precision is Precision.both else [precision.value]
    written = export_run(trained, catalog, out, wanted, force=force, licence=licence, track=track)
    for path, card in written.items():
        _show(card, path)
    sys.stdout.flush()


def parity_rows(parity: Parity) -> Iterator[tuple[str, str, str, str]]:
    """Yield figure, value, limit and result of each gate of one file, and related figures."""
    from export.verify import MAX_FP32_DP, MAX_RECALL_LOSS, MIN_AGREEMENT, lost_bound

    def result(holds: bool) -> str:
        return "ok" if holds else "FAILS"

    difference = parity.fp32_max_abs_dp
    yield "torch - fp32, max |dp|", f"{difference:.1e}", f"{MAX_FP32_DP:.0e}", result(difference <= MAX_FP32_DP)
    if parity.int8_max_abs_dp is not None:
        yield "fp32 - int8, max |dp|", f"{parity.int8_max_abs_dp:.3f}", "", ""
    for name, at, rate in (
        ("fp32", parity.fp32_threshold, parity.fp32_false_positive_rate),
        ("int8", parity.int8_threshold, parity.int8_false_positive_rate),
    ):
        if at is not None and rate is not None:
            yield f"{name} false positives at {at:.3f}, %", f"{100 * rate:.2f}", "", ""
    if parity.int8_recall_loss is not None:
        yield "int8 recall loss there, points", f"{100 * parity.int8_recall_loss:+.2f}", "", ""
    bound = lost_bound(parity)
    if bound is not None:
        holds = result(bound <= MAX_RECALL_LOSS)
        which = "lower" if parity.note else "upper"
        yield f"  {which} 95 % bound", f"{100 * bound:+.2f}", f"{100 * MAX_RECALL_LOSS:+g}", holds
    if parity.int8_decision_agreement is not None:
        agree = parity.int8_decision_agreement
        yield "decisions agree, %", f"{100 * agree:.2f}", f"{100 * MIN_AGREEMENT:g}", result(agree >= MIN_AGREEMENT)


def threshold_line(mode: str, limit: Threshold) -> str:
    """Write one threshold with its data. Several crops of one picture count as crops, not as pictures."""
    bears, others = f"{limit.n_bear} bears", f"{limit.n_no_bear} others"
    if limit.bear_pictures not in (None, limit.n_bear) or limit.no_bear_pictures not in (None, limit.n_no_bear):
        bears = f"{limit.n_bear} crops of {limit.bear_pictures} pictures"
        others = f"{limit.n_no_bear} crops of {limit.no_bear_pictures} pictures"
    return (
        f"threshold {mode}: {limit.value:.3f} (tuning part: recall {100 * limit.recall:.1f} % on {bears}, "
        f"false positives {100 * limit.false_positive_rate:.2f} % on {others})"
    )


def doubts(limits: Mapping[Mode, Threshold]) -> Iterator[str]:
    """Yield a sentence for each reason in the tuning part against using a model."""
    for mode, limit in limits.items():
        if limit.recall < MIN_RECALL:
            yield (
                f"Do not rely on it: at its {mode} threshold it finds {100 * limit.recall:.0f} % of the tuning bears. "
                "Train with more pictures of bears, or longer."
            )
    fewest = min((limit.bear_pictures or limit.n_bear for limit in limits.values()), default=0)
    if fewest < MIN_BEARS:
        yield f"Its thresholds come from {fewest} pictures of bears: at least {MIN_BEARS} are needed."


def _show(card: Card, path: Path) -> None:
    """Print the parity table and the thresholds of one file."""
    from rich.console import Console
    from rich.table import Table

    console, parity = Console(), card.parity
    for title, figures in (
        (f"Parity on {parity.crops:,} degraded crops of {parity.pictures} test pictures", parity),
        ("Parity on whole pictures of the test part", parity.frame),
    ):
        if figures is None:
            continue
        table = Table(title=title, title_justify="left")
        for column in ("figure", "value", "allowed", ""):
            table.add_column(column, justify="left" if column in ("figure", "") else "right")
        for row in parity_rows(figures):
            table.add_row(*row)
        console.print(table)
        if figures.note:
            console.print(f"{figures.note}.")
    if parity.int8_threshold is not None:
        console.print(
            "Both are compared at thresholds that pass equally many tuning crops without a bear, "
            "not at the alarm's threshold below."
        )
    for mode, threshold in card.thresholds.items():
        console.print(threshold_line(mode, threshold))
    for words in doubts(card.thresholds):
        console.print(words)
    if parity.forced:
        console.print("Exported by force: a gate fails, and the card says so.")
    console.print(f"{path}  {path.stat().st_size / 1e6:.1f} MB, {card.precision}")
    console.print(card.licence)
    if card.notice:
        console.print(card.notice)
