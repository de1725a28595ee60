"""``bear-alarm classify``: pictures, clips, folders and SD cards."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.camtrap_options import Camtrap, camtrap_options
from edge.cli.options import ModelOpt, options_of
from edge.cli.output import counted
from edge.errors import OptionError, PictureError
from edge.schema import readable

if TYPE_CHECKING:
    from edge.cli.classify_formats import Formats
    from edge.detect.card import Card
    from edge.detect.classifier import Classifier
    from edge.detect.stills import FileResult, Results, Row, Survey

log = logging.getLogger(__name__)

CHECKPOINT_S = 10.0
MB_A_THREAD = 450.0  # of main memory: a picture of 24 megapixels takes 72 MB and more while it is looked at
WIDEST_NAME = 60
VERDICTS = {"bear": "BEAR", "maybe": "maybe", "none": "-"}
OFTEN_MISSED = "bears shorter than a tenth of the picture are often missed"


many_option = partial(typer.Option, rich_help_panel="Many pictures")
format_option = partial(typer.Option, rich_help_panel="Formats")


@options_of(camtrap=camtrap_options)
def classify(
    path: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Pictures, clips, folders (with all folders in them) or a card; a table of pictures (.csv with a "
            "column file); or results to convert (.json)."
        ),
    ] = None,
    model: ModelOpt = None,
    fps: Annotated[float | None, typer.Option(help="Frames to look at in each second of a clip. [default: 1]")] = None,
    country: Annotated[
        str, typer.Option(help="Country or state of the USA, such as SI or US-MT: names the species that lives there.")
    ] = "",
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one line of JSON for each file.")] = False,
    resume: Annotated[bool, typer.Option(help="Skip what the --out file holds already.")] = True,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace files that are there, and an --out file that holds something else.",
        ),
    ] = False,
    out: Annotated[Path | None, format_option(help="Write results for Timelapse (MegaDetector format 1.6).")] = None,
    table: Annotated[
        Path | None,
        format_option("--csv", help="Write a table, a row for each file, and print counts by camera, day and label."),
    ] = None,
    coco: Annotated[Path | None, format_option(help="Write results as COCO Camera Traps.")] = None,
    shards: Annotated[
        Path | None,
        many_option(metavar="FOLDER", help="Cut the pictures into shards in this folder, or go on there."),
    ] = None,
    engine: Annotated[
        str | None,
        many_option(
            help="Engine to run the shards: local, or none to print the numbers of those to be done. [default: local]"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        many_option(
            min=1,
            help="Threads for a card or for one --shard; processes for all --shards, a shard each. "
            "[default: one a core]",
        ),
    ] = None,
    shard: Annotated[int | None, many_option(help="Look at this shard only: the worker for other engines.")] = None,
    retry_failed: Annotated[
        bool, many_option("--retry-failed", help="Look again at files that could not be read.")
    ] = False,
    progress: Annotated[bool, typer.Option("--progress", hidden=True)] = False,
    *,
    camtrap: Callable[..., Camtrap | None],
) -> None:
    """Look for bears in pictures, clips, folders and SD cards.

    Each row is a file, its best label, how likely a bear is in it, and the result: BEAR, maybe (half the score that
    counts as a bear, or more) or -. A clip counts as its best frame. Files that cannot be read are named and skipped.
    With --out or --shards a run that was stopped goes on where it was.
    """
    from edge.cli.classify_formats import Formats, check_formats, sources, write_formats
    from edge.cli.classify_shards import Run, run_all, work
    from edge.species import no_bears

    paths = path or []
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise OptionError(f"--fps {fps:g}: give the frames to look at in each second of a clip, such as 1 or 0.5")
    if country and (words := no_bears(country)):
        log.warning("--country: %s", words)
    package = camtrap(force, paths, again=shards is not None)
    if shards and (jsonl or not resume):
        raise OptionError(f"{'--jsonl' if jsonl else '--no-resume'} is for a card without --shards; do without it")
    if shard is not None:
        if shards is None:
            raise OptionError("--shard is the number of one of --shards; give that folder too")
        if out or table or coco or package or force or country or engine:
            raise OptionError(
                "--shard only looks at a shard: give --engine, --force, --country and the formats to the command "
                "without it"
            )
        work(shards, shard, paths, model, fps, threads=workers or threads(), retry=retry_failed, progress=progress)
        return
    formats = Formats(out, table, coco, package, country)
    if results := sources(paths):
        if shards:
            raise OptionError(f"{paths[0]}: holds results, and --shards takes pictures; give one of the two")
        if not (out or table or coco or package):
            raise OptionError(f"{paths[0]}: holds results; say what to write of them, such as --csv bears.csv")
        looking = {
            "--model": model, "--fps": fps, "--jsonl": jsonl, "--no-resume": not resume, "--workers": workers,
            "--retry-failed": retry_failed, "--engine": engine not in {None, "local"},
        }  # fmt: skip
        if used := [option for option, value in looking.items() if value]:
            raise OptionError(f"{used[0]}: {paths[0]} holds results, and no picture is looked at; do without it")
        check_formats(formats, paths, force=force)
        write_formats(results, formats)
    elif shards:
        run_all(Run(shards, paths, model, fps, engine or "local", workers or threads(), retry_failed, force), formats)
    elif not paths:
        raise OptionError("give pictures, folders or a table to look at, such as `bear-alarm classify /media/card`")
    elif engine not in {None, "local"}:
        raise OptionError("--engine runs --shards; give their folder too, or do without it")
    elif retry_failed:
        raise OptionError("--retry-failed is for --shards: files of a card that could not be read are tried each time")
    else:
        look_at_card(
            paths, model, formats, 1.0 if fps is None else fps, workers or threads(), jsonl=jsonl, resume=resume,
            force=force,
        )  # fmt: skip


def look_at_card(
    paths: Sequence[Path],
    model: str | None,
    formats: Formats,
    fps: float,
    workers: int,
    *,
    jsonl: bool,
    resume: bool,
    force: bool,
) -> None:
    """Look at a card, print its rows and write the formats. Without --out the results are kept until they are written.

    Raises OptionError, and PictureError where nothing could be read.
    """
    from edge.batch.look import find_files, look_at, read_heads, species_of
    from edge.batch.results import ResultFiles
    from edge.cli.classify_formats import check_formats, check_names, write_formats
    from edge.cli.output import track
    from edge.cli.watch.terminal import model_line
    from edge.detect.classifier import load
    from edge.detect.sequences import CardPictures
    from edge.detect.stills import Survey, is_clip

    table, country = formats.csv, formats.country
    kept = out = formats.out
    other = formats.coco or (formats.camtrap_dp and formats.camtrap_dp.folder)
    if other and not out:
        other = other.absolute()
        kept = other.with_name(f".{other.name}.classify-results.json")
    files, base = find_files(paths)
    check_formats(replace(formats, out=kept), files, force=force, goes_on=True)
    names = {file: name_in_results(file, base) for file in files}
    check_names(formats, names.values(), base)
    classifier = load(model)
    # What a run before left of itself is no file of the user's.
    may_replace = force or kept != out
    results, held = open_results(kept, classifier, base, fps, resume, may_replace) if kept else (None, {})
    rows = {name: held[name] for name in names.values() if name in held}
    if kept and rows and country:
        for each in ResultFiles([kept], base)():
            if row := rows.get(each.row.file):
                rows[row.file] = row._replace(species=species_of(row, each.classes, country))
    pictures = sum(not is_clip(file) for file in files)
    card = CardPictures(track(read_heads(files, workers), "looking for cameras", pictures))
    todo = card.in_turn(file for file in files if names[file] not in rows)
    if not jsonl:
        log.info("%s", model_line(classifier))
        log.info("%s", how_counted(classifier.card))
        if line := card.line():
            log.info("%s", line)
    if rows:
        log.info("%d of %d files are in %s already", len(rows), len(files), kept)
    survey, last, saved = Survey(rows.values()), "", time.monotonic()
    width = min(max((len(file.as_posix()) for file in todo), default=0), WIDEST_NAME)
    done = printed = 0
    try:
        with closing(look_at(classifier, card, todo, names, fps=fps, workers=workers)) as found:
            for finding, row in track(found, "looking for bears", len(todo)):
                seen = finding.seen.probabilities if finding.seen else {}
                row = row._replace(species=species_of(row, seen, country))
                if results is not None:  # first: what was printed is in the file too, however it ends
                    results.add(finding, row)
                survey.add(row)
                if table is not None:
                    rows[row.file] = row
                done += 1
                if finding.failure is not None:
                    last = finding.failure
                    if len(files) > 1:
                        log.warning("skipped %s", finding.failure)
                else:
                    if not printed and not jsonl:
                        more = "        species" if country else ""
                        print(f"{'file':<{width}}  {'best label':<12}  score  result{more}")
                    printed += 1
                    print(readable(to_json(finding, row) if jsonl else to_text(finding, row, width)), flush=True)
                for problem in finding.problems:
                    log.warning("%s", problem)
                if results is not None and time.monotonic() - saved > CHECKPOINT_S:
                    results.save()
                    saved = time.monotonic()
    except BaseException as error:  # whatever ends it early, mostly Ctrl-C: hours of work may be lost
        part = write_part(table, [rows[name] for name in names.values() if name in rows]) if table else None
        if part or isinstance(error, KeyboardInterrupt):
            log.info("%s", stopped(done, len(todo), kept, part, resume=resume))
        raise
    finally:
        if results is not None:
            results.save()
    if table is not None:
        write_table(table, [rows[name] for name in names.values()], survey)
    if kept and other:
        try:
            write_formats(ResultFiles([kept], base), replace(formats, out=None, csv=None))
        except OptionError as error:
            raise OptionError(f"{error}; the results are kept: the same command goes on") from None
        if kept != out:
            for file in (kept, kept.with_name(f"{kept.name}.old")):  # the second one is of another model
                file.unlink(missing_ok=True)
    if not survey.read:
        if len(files) == 1:
            raise PictureError(last)
        raise PictureError(f"none of the {len(files)} files could be read; the last: {last}")
    if not jsonl:
        log.info("%s", sum_up(survey))


def open_results(
    out: Path, classifier: Classifier, base: Path | None, fps: float, resume: bool, force: bool
) -> tuple[Results, dict[str, Row]]:
    """Return the results file and its rows; if any are looked at again, the old file is kept beside it.

    Raises OptionError for a file with something else in it, unless ``force``.
    """
    from edge.detect.stills import Results

    results = Results(out, classifier.card, classifier.name, base, fps)
    held: dict[str, Row] = {}
    again = keep = False
    if out.exists():
        try:
            held = results.resume()
            again = not resume
        except OptionError:
            if not force:
                raise
            again = True
        keep = again or results.outdated > 0
        if again:
            results, held = Results(out, classifier.card, classifier.name, base, fps), {}
    results.save(keep=keep)
    if results.outdated:
        clips = counted(results.outdated, "clip")
        log.info("%s of %s to look at again: --fps was another; the old file is %s.old", clips, out, out)
    return results, held


def threads() -> int:
    """Return the number of threads: one for each core, as far as memory allows."""
    from edge.background import cores
    from edge.device.sensors import memory

    return max(1, min(cores(), int(memory().total_mb / MB_A_THREAD)))


def name_in_results(picture: Path, base: Path | None) -> str:
    """Return the file's name in the results: relative to the folder given, with forward slashes (Timelapse's way)."""
    return (picture.relative_to(base) if base else picture).as_posix()


def to_json(finding: FileResult, row: Row) -> str:
    """Return the line of ``--jsonl`` for a file that was read."""
    seen = finding.seen
    assert seen is not None
    return json.dumps(
        {
            "file": finding.file.as_posix(),
            "time": row.time or None,
            "camera": row.camera,
            "label": row.label,
            "bear": row.score,
            "verdict": row.verdict,
            "alarm": seen.alarm,
            "ood": round(seen.ood, 4),
            "box_xywh": row.box,
            "second": row.second,
            **({"species": row.species} if row.species else {}),
            "probabilities": {label: round(p, 5) for label, p in seen.probabilities.items()},
            "ms": round(finding.ms, 1),
        },
        ensure_ascii=False,
    )


def to_text(finding: FileResult, row: Row, width: int) -> str:
    """Return the line for a person for a file that was read."""
    assert row.verdict is not None
    where = "" if row.second is None or row.verdict == "none" else f" at {row.second:g} s"
    label = row.label.replace("_", " ")
    result = f"{VERDICTS[row.verdict]}{where}"
    return f"{finding.file.as_posix():<{width}}  {label:<12}  {row.score:.3f}  {result:<12}  {row.species}".rstrip()


def how_counted(card: Card) -> str:
    """Return from which score on a file counts as a bear or as maybe one."""
    from edge.detect.stills import MAYBE

    threshold = card.thresholds["frame"].value
    return f"A score of {threshold:.3f} or more counts as a bear; of {MAYBE * threshold:.3f} or more as maybe."


def write_table(table: Path, rows: list[Row], survey: Survey) -> None:
    """Write the CSV file, and log how many rows each camera, day and label has; an old file is kept beside it."""
    from edge.detect.stills import write_rows
    from edge.files import whole_file

    with whole_file(table, keep=True) as file:
        write_rows(file, rows)
    for line in survey.lines():
        log.info("%s", readable(line))
    log.info("%s: %s", table, counted(len(rows), "row"))


def write_part(table: Path, rows: list[Row]) -> Path | None:
    """Write the rows of a run that ends early beside ``table``; return that file, or None for no rows."""
    from edge.detect.stills import write_rows
    from edge.files import whole_file

    if not rows:
        return None
    part = table.with_name(table.name + ".part")
    with whole_file(part) as file:
        write_rows(file, rows)
    return part


def sum_up(survey: Survey) -> str:
    """Summarise the card in one sentence, with the limit of what can be found."""
    from edge.detect.stills import UNREADABLE

    kinds = [counted(n, what) for n, what in ((survey.pictures, "picture"), (survey.clips, "clip")) if n]
    where = kinds[0] if len(kinds) == 1 else f"{counted(survey.read, 'file')} ({', '.join(kinds)})"
    bears, maybe = survey.verdicts["bear"], survey.verdicts["maybe"]
    parts = [f"bear in {bears:,} of {where}" if bears else f"no bear found in {where}"]
    if maybe:
        parts.append(f"maybe in {maybe:,}: look at {'it' if maybe == 1 else 'them'}")
    if not bears:
        parts.append(OFTEN_MISSED)
    if survey.failed:
        parts.append(f"{survey.failed:,} {UNREADABLE}")
    return "; ".join(parts)


def stopped(done: int, of: int, out: Path | None, part: Path | None = None, *, resume: bool) -> str:
    """Return what is done after Ctrl-C, and how to go on."""
    where = "" if out is None else f", in {out}"
    how = "the same command goes on there" if resume else "the same command without --no-resume goes on there"
    if out is None:
        how = "a run with --out FILE can be stopped and goes on where it was"
    so_far = "" if part is None else f"; the table so far is {part}"
    return f"stopped after {done} of {of} pictures{where}; {how}{so_far}"
