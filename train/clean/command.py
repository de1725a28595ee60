"""``bear-alarm clean``: find wrong labels with the model's help, decide them, train again."""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import MissingExtraError, OptionError
from edge.installing import extra

if TYPE_CHECKING:
    from train.clean.suspects import Suspect
    from train.learn.run_folder import RunFolder

TOP = 300


def clean(
    run: Annotated[Path, typer.Argument(help="The folder `bear-alarm train` wrote.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The page to write (clean.html); with --retrain the new run (RUN-cleaned)."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, max=2000, help="Number of pictures at most, the worst first.")] = TOP,
    serve: Annotated[
        bool, typer.Option("--serve", help="Open the page on this machine and write each decision at once.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="For --serve; 0 takes a free one.")] = 0,
    apply: Annotated[
        Path | None,
        typer.Option("--apply", help="Add a page's decisions.csv to the catalogue."),
    ] = None,
    undo: Annotated[
        str | None, typer.Option("--undo", help="Take back the decision about a FILE, the `last` one, or `all`.")
    ] = None,
    listed: Annotated[bool, typer.Option("--list", help="Print the decisions in force, as CSV.")] = False,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train again on the decided labels and print the changes.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="The folder of the run's pictures, if they moved.")] = None,
    weights: Annotated[
        Path | None, typer.Option(help="For --retrain: ImageNet weights, if they are not in the default place.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With --retrain: replace an existing run.")] = False,
) -> None:
    """Find pictures with probably wrong labels, decide them one by one, and train again.

    Writes a page with the labels that the model doubts most: bears among the pictures without bears first. Open
    it, decide with the keys K (keep), R (relabel), D (delete) and U (undo), save decisions.csv and give it to
    --apply; or use --serve. Decisions are rows of DECISIONS.csv beside the pictures; no picture is moved or deleted.
    """
    chosen = {
        "--serve": serve, "--apply": apply is not None, "--undo": undo is not None, "--list": listed,
        "--retrain": retrain,
    }  # fmt: skip
    named = [name for name, given in chosen.items() if given]
    if len(named) > 1:
        raise OptionError(f"{named[0]} and {named[1]} cannot be combined; do one after the other")
    from train.learn.run_folder import open_run_folder

    place = open_run_folder(run, data)
    if apply is not None:
        _apply(place, apply)
    elif undo is not None:
        _undo(place, undo)
    elif listed:
        _list(place)
    elif retrain:
        target = out or run.resolve().with_name(f"{run.resolve().name}-cleaned")
        _retrain(place, target, weights, as_json=as_json, force=force)
    elif serve:
        _serve(place, _find(place, top), port)
    else:
        target = _writable(out or Path("clean.html"))
        _write(place, _find(place, top), target, as_json=as_json)


def _find(place: RunFolder, top: int) -> list[Suspect]:
    """Find the labels that are most probably wrong, among those without a decision."""
    if find_spec("cleanlab") is None:
        raise MissingExtraError(
            f"`bear-alarm clean` needs cleanlab, which is not part of the device's install; run: {extra('train')}"
        )
    from train.learn import wait_asleep

    wait_asleep()
    import numpy as np

    from edge.cli.output import track
    from train.clean.embeddings import CACHE, embed
    from train.clean.suspects import find_suspects
    from train.data.decisions import live, match, read_decisions
    from train.learn.run import read_run

    trained = read_run(place.run)
    pictures = place.catalog.pictures
    decided, _ = match(pictures, place.root, live(read_decisions(place.root)))
    cache, size = place.run / CACHE, trained.recipe.size
    embedded = embed(pictures, trained.net, trained.backbone, size, track, cache=cache, network=place.learner)
    shown = np.array([picture not in decided for picture in embedded.pictures], bool)
    suspects = find_suspects(embedded, trained.recipe.seed, top, shown)
    flagged = sum(suspect.flagged for suspect in suspects)
    _print(
        f"{len(embedded.pictures)} pictures, {len(decided)} decided before; "
        f"{len(suspects)} shown, {flagged} of them probably wrong; by reason, some with two: {_counts(suspects)}"
    )
    return suspects


def _writable(out: Path) -> Path:
    """Check before the work that the page can be written. Raises OptionError."""
    if out.is_dir():
        raise OptionError(f"{out}: is a folder; give --out the name of a file, such as {out / 'clean.html'}")
    try:
        with tempfile.TemporaryFile(dir=out.parent):
            return out
    except OSError as error:
        raise OptionError(f"{out}: cannot be written ({error.strerror}); choose another --out") from None


def _write(place: RunFolder, suspects: list[Suspect], out: Path, *, as_json: bool) -> None:
    from edge.files import replace_whole
    from train.clean.page import page, page_rows

    rows = page_rows(suspects, place.root)
    replace_whole(out, page(rows, place.name).encode())
    _print(
        f"Open {out} in a browser, decide, save decisions.csv, then: bear-alarm clean {place.run} --apply decisions.csv"
    )
    if as_json:
        bare = [{name: value for name, value in row.items() if name not in ("thumb", "twin")} for row in rows]
        twins = [row["twin"] and row["twin"]["file"] for row in rows]
        print(json.dumps([row | {"twin": twin} for row, twin in zip(bare, twins, strict=True)], indent=1))
    else:
        print(out)


def _serve(place: RunFolder, suspects: list[Suspect], port: int) -> None:
    from train.clean.page import Review, open_server, page_rows

    review = Review(page_rows(suspects, place.root), place.root, place.name)
    server, url = open_server(review, port)
    print(url, flush=True)
    _print("Open this address on this machine; each decision is written at once. Ctrl-C ends it.")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        _print(f"{_held(place)}; next: bear-alarm clean {place.run} --retrain")
    finally:
        server.server_close()


def _apply(place: RunFolder, file: Path) -> None:
    from train.data.decisions import KINDS, UNDO, append_decisions, is_about, read_table

    given = read_table(file)
    about = [row for row in given if is_about(row, place.root)]
    new = append_decisions(place.root, about)
    kinds = [f"{sum(row.decision == kind for row in new)} {kind}" for kind in KINDS if kind != UNDO]
    taken_back = sum(row.decision == UNDO for row in new)
    _print(f"Added: {', '.join(kinds)}, {taken_back} undone; {len(about) - len(new)} were in it already")
    if len(about) < len(given):
        _print(f"{len(given) - len(about)} skipped: their pictures are gone, changed, or in another folder")
    _print(f"{_held(place)}; next: bear-alarm clean {place.run} --retrain")


def _undo(place: RunFolder, what: str) -> None:
    from train.clean.retrain import undo_decisions

    about = undo_decisions(place, what)
    for row in about[:10]:
        _print(f"taken back: {row.file} ({row.decision}{f' as {row.after}' if row.after else ''})")
    _print(_held(place))


def _list(place: RunFolder) -> None:
    from train.data.decisions import COLUMNS, as_row, live, read_decisions
    from train.data.table import csv_bytes

    sys.stdout.write(csv_bytes(COLUMNS, map(as_row, live(read_decisions(place.root)))).decode())
    _print(_held(place))


def _retrain(place: RunFolder, out: Path, weights: Path | None, *, as_json: bool, force: bool) -> None:
    from edge.cli.output import track
    from train.clean.retrain import retrain, table
    from train.learn import wait_asleep

    wait_asleep()

    report = retrain(place, out, _print, track, force=force, weights=weights)
    if as_json:
        print(json.dumps(report, indent=1, ensure_ascii=False))
        return
    print(f"On {report['tuning_pictures']} tuning pictures, labelled as decided, per cent:")
    for name, before, after in (("", "before", "after"), *table(report)):
        print(f"  {name:<36}{before:>8}{after:>8}")
    _print("One training each: from seed to seed such figures differ by a point or two.")
    _print(f"Next: bear-alarm export {out} --out bear.onnx")


def _counts(suspects: list[Suspect]) -> str:
    from train.clean.suspects import REASONS

    counts = {why: sum(why in suspect.why for suspect in suspects) for why in REASONS}
    return ", ".join(f"{count} {why}" for why, count in counts.items() if count) or "none"


def _held(place: RunFolder) -> str:
    from train.data.decisions import KINDS, UNDO, live, read_decisions

    held: list[Any] = live(read_decisions(place.root))
    counts = [f"{sum(row.decision == kind for row in held)} {kind}" for kind in KINDS if kind != UNDO]
    return f"{len(held)} decisions in force: {', '.join(counts)}"


def _print(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
