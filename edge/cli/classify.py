"""``bear-alarm classify``: pictures, clips, folders and SD cards."""

from __future__ import annotations

import json
import logging
import math
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.options import ModelOpt
from edge.cli.output import check_new_file, counted
from edge.errors import OptionError, PictureError
from edge.files import need_folder
from edge.schema import readable

if TYPE_CHECKING:
    from edge.detect.card import Card
    from edge.detect.classifier import Classifier
    from edge.detect.stills import FileResult, Results, Row, Survey

log = logging.getLogger(__name__)

CHECKPOINT_S = 10.0
MB_A_THREAD = 450.0  # of main memory: a picture of 24 megapixels takes 72 MB and more while it is looked at
WIDEST_NAME = 60
VERDICTS = {"bear": "BEAR", "maybe": "maybe", "none": "-"}
OFTEN_MISSED = "bears shorter than a tenth of the picture are often missed"


def classify(
    path: Annotated[list[Path], typer.Argument(help="Pictures, clips, folders (with all folders in them) or a card.")],
    model: ModelOpt = None,
    out: Annotated[Path | None, typer.Option(help="Write results for Timelapse (MegaDetector format 1.6).")] = None,
    table: Annotated[
        Path | None,
        typer.Option("--csv", help="Write a table, a row for each file, and print counts by camera, day and label."),
    ] = None,
    fps: Annotated[float, typer.Option(help="Frames to look at in each second of a clip.")] = 1.0,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one line of JSON for each file.")] = False,
    resume: Annotated[bool, typer.Option(help="Skip what the --out file holds already.")] = True,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a --csv file, or an --out file that holds something else.")
    ] = False,
) -> None:
    """Look for bears in pictures, clips, folders and SD cards.

    Each row is a file, its best label, how likely a bear is in it, and the result: BEAR, maybe (half the score that
    counts as a bear, or more) or -. A clip counts as its best frame. Files that cannot be read are named and skipped.
    With --out a run that was stopped goes on where it was.
    """
    import cv2

    from edge.background import in_order
    from edge.cli.output import track
    from edge.cli.watch.terminal import model_line
    from edge.detect.classifier import load
    from edge.detect.sequences import CardPictures, read_head
    from edge.detect.stills import FILES, Survey, find_in, is_clip, row_of, support
    from edge.pictures import find_pictures

    files = find_pictures(path, FILES)
    check_options(files, out, table, fps, force)
    classifier = load(model)
    base = path[0] if len(path) == 1 and path[0].is_dir() else None
    results, held = open_results(out, classifier, base, fps, resume, force) if out else (None, {})
    names = {file: name_in_results(file, base) for file in files}
    rows = {name: held[name] for name in names.values() if name in held}
    pictures = [file for file in files if not is_clip(file)]
    with closing(in_order(read_head, pictures, threads())) as heads:
        card = CardPictures(track(heads, "looking for cameras", len(pictures)))
    todo = card.in_turn(file for file in files if names[file] not in rows)
    if not jsonl:
        log.info("%s", model_line(classifier))
        log.info("%s", how_counted(classifier.card))
        if line := card.line():
            log.info("%s", line)
    if rows:
        log.info("%d of %d files are in %s already", len(rows), len(files), out)
    survey, last, saved, stop = Survey(rows.values()), "", time.monotonic(), Event()
    width = min(max((len(file.as_posix()) for file in todo), default=0), WIDEST_NAME)
    done = printed = 0
    cv2.setNumThreads(1)  # each file has a thread of its own
    work = partial(find_in, classifier, fps=fps, stop=stop, regions=card.regions)
    try:
        with closing(in_order(work, todo, threads())) as found:
            looked_at = track(found, "looking for bears", len(todo))
            for finding in support(looked_at, card.burst, classifier.card):
                row = row_of(finding, names[finding.file])
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
                        print(f"{'file':<{width}}  {'best label':<12}  score  result")
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
            log.info("%s", stopped(done, len(todo), out, part, resume=resume))
        raise
    finally:
        stop.set()
        if results is not None:
            results.save()
    if table is not None:
        write_table(table, [rows[name] for name in names.values()], survey)
    if not survey.read:
        if len(files) == 1:
            raise PictureError(last)
        raise PictureError(f"none of the {len(files)} files could be read; the last: {last}")
    if not jsonl:
        log.info("%s", sum_up(survey))


def check_options(files: list[Path], out: Path | None, table: Path | None, fps: float, force: bool) -> None:
    """Raise OptionError for what cannot work, before any picture is looked at."""
    if not (math.isfinite(fps) and fps > 0):
        raise OptionError(f"--fps {fps:g}: give the frames to look at in each second of a clip, such as 1 or 0.5")
    if out is not None and table is not None and out.resolve() == table.resolve():
        raise OptionError(f"{out}: --out and --csv name the same file; name two")
    for file, option, example in ((out, "--out", "results.json"), (table, "--csv", "bears.csv")):
        if file is None:
            continue
        # An --out file that is there is continued.
        check_new_file(file, example, option=option, force=force or file is out)
        if file.exists() and any(map(file.samefile, files)):
            raise OptionError(f"{file}: is one of the files to look at; name another {option} file, such as {example}")
        need_folder(file)
        try:
            with tempfile.TemporaryFile(dir=file.parent):
                pass
        except OSError as error:
            raise OptionError(f"{file}: cannot be written ({error.strerror}); name another {option} file") from None


def open_results(
    out: Path, classifier: Classifier, base: Path | None, fps: float, resume: bool, force: bool
) -> tuple[Results, dict[str, Row]]:
    """Return the results file and its rows; if any are looked at again, the old file is kept beside it.

    Raises OptionError for a file with something else in it, unless ``force``.
    """
    from edge.detect.stills import Results

    results = Results(out, classifier.card, classifier.name, base, fps)
    held: dict[str, Row] = {}
    if out.exists():
        try:
            held = results.resume()
            again = not resume
        except OptionError:
            if not force:
                raise
            again = True
        if results.outdated and not again:
            clips = counted(results.outdated, "clip")
            log.info("%s of %s to look at again: --fps was another; the old file is %s", clips, out, keep_old(out))
        if again:
            keep_old(out)
            results, held = Results(out, classifier.card, classifier.name, base, fps), {}
    results.save()
    return results, held


def keep_old(file: Path) -> Path:
    """Rename a file that is to be replaced to ``….old``; return its new path."""
    return file.replace(file.with_name(file.name + ".old"))


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
    return f"{finding.file.as_posix():<{width}}  {label:<12}  {row.score:.3f}  {VERDICTS[row.verdict]}{where}"


def how_counted(card: Card) -> str:
    """Return from which score on a file counts as a bear or as maybe one."""
    from edge.detect.stills import MAYBE

    threshold = card.thresholds["frame"].value
    return f"A score of {threshold:.3f} or more counts as a bear; of {MAYBE * threshold:.3f} or more as maybe."


def write_table(table: Path, rows: list[Row], survey: Survey) -> None:
    """Write the CSV file, and log how many rows each camera, day and label has; an old file is kept beside it."""
    from edge.detect.stills import csv_bytes
    from edge.files import replace_whole

    data = csv_bytes(rows)
    if table.exists():
        keep_old(table)
    replace_whole(table, data)
    for line in survey.lines():
        log.info("%s", readable(line))
    log.info("%s: %s", table, counted(len(rows), "row"))


def write_part(table: Path, rows: list[Row]) -> Path | None:
    """Write the rows of a run that ends early beside ``table``; return that file, or None for no rows."""
    from edge.detect.stills import csv_bytes
    from edge.files import replace_whole

    if not rows:
        return None
    part = table.with_name(table.name + ".part")
    replace_whole(part, csv_bytes(rows))
    return part


def sum_up(survey: Survey) -> str:
    """Summarise the card in one sentence, with the limit of what can be found."""
    kinds = [counted(n, what) for n, what in ((survey.pictures, "picture"), (survey.clips, "clip")) if n]
    where = kinds[0] if len(kinds) == 1 else f"{counted(survey.read, 'file')} ({', '.join(kinds)})"
    bears, maybe = survey.verdicts["bear"], survey.verdicts["maybe"]
    parts = [f"bear in {bears:,} of {where}" if bears else f"no bear found in {where}"]
    if maybe:
        parts.append(f"maybe in {maybe:,}: look at {'it' if maybe == 1 else 'them'}")
    if not bears:
        parts.append(OFTEN_MISSED)
    if survey.failed:
        parts.append(f"{survey.failed:,} could not be read")
    return "; ".join(parts)


def stopped(done: int, of: int, out: Path | None, part: Path | None = None, *, resume: bool) -> str:
    """Return what is done after Ctrl-C, and how to go on."""
    where = "" if out is None else f", in {out}"
    how = "the same command goes on there" if resume else "the same command without --no-resume goes on there"
    if out is None:
        how = "a run with --out FILE can be stopped and goes on where it was"
    so_far = "" if part is None else f"; the table so far is {part}"
    return f"stopped after {done} of {of} pictures{where}; {how}{so_far}"
