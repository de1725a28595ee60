"""``bear-alarm report``: one page on a run's model and its errors. Needs torch only without an exported model."""

from __future__ import annotations

import logging
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

log = logging.getLogger(__name__)


def report(
    run: Annotated[Path, typer.Argument(help="The folder `bear-alarm train` wrote.")],
    model: Annotated[
        Path | None, typer.Option(help="The file exported from it; default: one in or beside the folder.")
    ] = None,
    last: Annotated[Path | None, typer.Option(help="The previous model, for a paired test.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page to write; default: report.html in the run's folder.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The folder of the run's pictures, if they moved.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="The --label options the run was trained with.")] = None,
    clips: Annotated[
        bool, typer.Option(help="Run the alarm over the clips of a videos.csv beside the pictures.")
    ] = True,
) -> None:
    """Write one page on a run's model, measured on its test part: recall, false alarms, every missed bear.

    The page is one file and needs no network. It has pictures in it: mind their licences before you pass it on.
    """
    from edge.cli.output import track
    from edge.detect.classifier import Classifier
    from edge.errors import OptionError
    from edge.files import replace_whole
    from train.data.labels import parse_labels
    from train.evaluate.command import find_clips, read_footage
    from train.evaluate.report import find_out
    from train.evaluate.report_page import write_page
    from train.evaluate.report_run import exported, read_files

    target = out or run / "report.html"
    files = read_files(run, data, parse_labels(label or []))
    if target.is_dir() or not target.parent.is_dir():
        raise OptionError(f"{target}: cannot be written; name a file in a folder that is there with --out")
    path = model or exported(files)
    if path is not None:
        classifier = Classifier(path)
    else:
        log.warning(
            "no model file exported from %s is in it or beside it: the report uses the trained network, "
            "with the tuning part's threshold; name a file in another folder with --model",
            run,
        )
        from train.evaluate.report_run import TrainedNet

        classifier = TrainedNet(files)
    before = Classifier(last) if last is not None else None
    footage = read_footage(find_clips(files.root)) if clips else []
    found = find_out(files, classifier, footage, before, track)
    for words in found.doubts:
        log.warning("%s", words)
    replace_whole(target, write_page(found, shlex.join(["bear-alarm", *sys.argv[1:]])).encode())
    print(target)
    print(
        f"{files.folder}: {found.stills.pictures} test pictures, {target.stat().st_size / 1e6:.1f} MB", file=sys.stderr
    )
