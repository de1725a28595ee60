"""The ``export`` command."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Precision(StrEnum):
    """What to write."""

    int8 = "int8"
    fp32 = "fp32"
    both = "both"


def export(
    run: Annotated[Path, typer.Argument(help="The folder `bear-alarm train` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model file to write.")] = Path("bear.onnx"),
    precision: Annotated[
        Precision, typer.Option(help="int8 is small and fast; fp32 is exact; both writes out and out.fp32.onnx.")
    ] = Precision.int8,
    data: Annotated[Path | None, typer.Option(help="Where the run's pictures lie, if they moved.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="The --label options the run was trained with.")] = None,
    licence: Annotated[str | None, typer.Option(help="Licence line for the model's card.")] = None,
    force: Annotated[
        bool, typer.Option(help="Write it although it falls below a gate; the card then says so.")
    ] = False,
) -> None:
    """Turn a trained run into the one file the alarm needs.

    The file carries its own card: labels, thresholds, calibration, licence, and inputs with known answers by
    which a device checks its arithmetic. Before anything is written, the exported network is compared with
    the trained one on at least 2,000 degraded crops of the test part.
    """
    from edge.commands.progress import track
    from export.artefact import export_run, run_catalog
    from train.catalog import read_catalog
    from train.labels import parse_labels
    from train.run import read_run

    trained = read_run(run)
    aliases = parse_labels(label or []) or trained.settings.get("aliases", {})
    catalog = read_catalog(run_catalog(trained, data), aliases)
    wanted = ["int8", "fp32"] if precision is Precision.both else [precision.value]
    cards = export_run(trained, catalog, out, wanted, force=force, licence=licence, track=track)
    for card in cards:
        _show(card, out if card.precision == wanted[0] else out.with_suffix(f".{card.precision}.onnx"))
    sys.stdout.flush()


def _show(card: object, path: Path) -> None:
    """Print the parity table and the thresholds of one file."""
    from rich.console import Console
    from rich.table import Table

    from edge.card import Card
    from export.verify import MAX_FP32_DP, MAX_RECALL_LOSS, MIN_AGREEMENT

    assert isinstance(card, Card)
    console, parity = Console(), card.parity
    table = Table(
        title=f"Parity on {parity.crops:,} degraded crops of {parity.pictures} test pictures", title_justify="left"
    )
    for column in ("figure", "value", "allowed", ""):
        table.add_column(column, justify="left" if column in ("figure", "") else "right")

    def row(name: str, value: float | None, shown: str, allowed: str, holds: bool) -> None:
        if value is not None:
            table.add_row(name, shown, allowed, "ok" if holds else "FAILS")

    row(
        "torch - fp32, max |dp|",
        parity.fp32_max_abs_dp,
        f"{parity.fp32_max_abs_dp:.1e}",
        f"{MAX_FP32_DP:.0e}",
        parity.fp32_max_abs_dp <= MAX_FP32_DP,
    )
    if parity.int8_recall_loss is not None:
        upper, agree = parity.int8_recall_loss_upper95 or 0.0, parity.int8_decision_agreement or 0.0
        row("fp32 - int8, max |dp|", parity.int8_max_abs_dp, f"{parity.int8_max_abs_dp:.3f}", "", True)
        row("int8 recall loss, points", parity.int8_recall_loss, f"{100 * parity.int8_recall_loss:+.2f}", "", True)
        row("  upper 95 % bound", upper, f"{100 * upper:.2f}", f"{100 * MAX_RECALL_LOSS:g}", upper <= MAX_RECALL_LOSS)
        row("decisions agree, %", agree, f"{100 * agree:.2f}", f"{100 * MIN_AGREEMENT:g}", agree >= MIN_AGREEMENT)
    console.print(table)
    for mode, threshold in card.thresholds.items():
        console.print(
            f"threshold {mode}: {threshold.value:.3f} (tuning part: recall {100 * threshold.recall:.1f} %, "
            f"false positives {100 * threshold.false_positive_rate:.2f} %, "
            f"{threshold.n_bear} bears, {threshold.n_no_bear} others)"
        )
    if parity.forced:
        console.print("Exported by force: a gate does not hold, and the card says so.")
    console.print(f"{path}  {path.stat().st_size / 1e6:.1f} MB, {card.precision}")
    console.print(card.licence)
    if card.notice:
        console.print(card.notice)
