"""``bear-alarm classify``: pictures, folders and SD cards, one after the other."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.errors import OptionError, PictureError
from edge.schema import readable

if TYPE_CHECKING:
    from edge.classifier import Classifier
    from edge.megadetector import Results
    from edge.stills import StillResult

log = logging.getLogger(__name__)

CHECKPOINT_S = 10.0


@dataclass(frozen=True)
class Looked:
    """One picture's outcome: what was seen in it and how long that took, or why it could not be read."""

    file: str
    result: StillResult | None
    ms: float
    failure: str | None = None

    def to_json(self) -> str:
        """The line of ``--jsonl``."""
        assert self.result is not None
        seen = self.result
        return json.dumps(
            {
                "file": self.file,
                "label": seen.label,
                "bear": round(seen.bear, 5),
                "alarm": seen.alarm,
                "ood": round(seen.ood, 4),
                "box_xywh": [round(side, 5) for side in seen.box_xywh],
                "probabilities": {label: round(p, 5) for label, p in seen.probabilities.items()},
                "ms": round(self.ms, 1),
            },
            ensure_ascii=False,
        )

    def to_text(self) -> str:
        """The line for a person."""
        assert self.result is not None
        seen = self.result
        return f"{'BEAR' if seen.alarm else '-':<5}{seen.bear:5.2f}  {seen.label.replace('_', ' '):<12}  {self.file}"


def classify(
    path: Annotated[list[Path], typer.Argument(help="Pictures, folders (searched through and through) or a card.")],
    model: Annotated[str | None, typer.Option(help="Model file; left out, the chosen or the bundled one.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write results for Timelapse (MegaDetector format 1.6).")] = None,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Print one line of JSON a picture.")] = False,
    resume: Annotated[bool, typer.Option(help="Skip what the --out file holds already.")] = True,
) -> None:
    """Look for bears in pictures, folders and SD cards: the whole picture first, then its tiles.

    Pictures that cannot be read are named and skipped. With --out a run that was cut off goes on
    where it stopped.
    """
    from edge.commands.progress import track
    from edge.commands.watch_words import model_line
    from edge.models import load
    from edge.pictures import find_pictures

    pictures = find_pictures(path)
    classifier = load(model)
    base = path[0] if len(path) == 1 and path[0].is_dir() else None
    results = open_results(out, classifier, base, resume) if out else None
    if not jsonl:
        log.info("%s", model_line(classifier))
        log.info("A bear counts from %.3f on.", classifier.card.thresholds["still"].value)
    todo = [picture for picture in pictures if results is None or not results.done(name_in_results(picture, base))]
    if len(todo) < len(pictures):
        log.info("%d of %d pictures are in %s already", len(pictures) - len(todo), len(pictures), out)
    counts, last, saved = Counter[str](), "", time.monotonic()
    try:
        for picture in track(todo, "looking for bears"):
            looked = look_at(classifier, picture)
            if results is not None:  # first: what was printed is in the file too, however it ends
                enter(results, name_in_results(picture, base), looked)
            if looked.failure is not None:
                last = looked.failure
                counts["failed"] += 1
                if len(pictures) > 1:
                    log.warning("skipped %s", looked.failure)
            else:
                counts["read"] += 1
                counts["alarms"] += looked.result is not None and looked.result.alarm
                print(readable(looked.to_json() if jsonl else looked.to_text()), flush=True)
            if results is not None and time.monotonic() - saved > CHECKPOINT_S:
                results.save()
                saved = time.monotonic()
    except KeyboardInterrupt:
        log.info("%s", stopped(counts["read"] + counts["failed"], len(todo), out, resume))
        raise
    finally:
        if results is not None:
            results.save()
    if not counts["read"] and len(todo) == len(pictures):  # else the rest was read in an earlier run
        if len(todo) == 1:
            raise PictureError(last)
        raise PictureError(f"none of the {len(todo)} pictures could be read; the last: {last}")
    if not jsonl:
        failed = f", {counts['failed']} could not be read" if counts["failed"] else ""
        log.info("%d of %d pictures show a bear%s", counts["alarms"], counts["read"], failed)


def stopped(done: int, of: int, out: Path | None, resume: bool) -> str:
    """What Ctrl-C leaves behind, and how to go on."""
    where = "" if out is None else f", in {out}"
    how = "the same command goes on there" if resume else "the same command without --no-resume goes on there"
    if out is None:
        how = "a run with --out FILE can be stopped and goes on where it was"
    return f"stopped after {done} of {of} pictures{where}; {how}"


def open_results(out: Path, classifier: Classifier, base: Path | None, resume: bool) -> Results:
    """The results file, with what it held when resuming; begun again, the old one is kept beside it.

    Raises OptionError before any picture is looked at when the file cannot be written.
    """
    from edge.megadetector import Results, read_results

    if out.is_dir():
        raise OptionError(f"{out}: --out names a folder; name a file, such as {out / 'results.json'}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{out}: its folder cannot be made ({error.strerror}); name another --out file") from None
    results = Results(out, classifier.card, classifier.name, base)
    if out.exists() and resume:
        results.resume()
    elif out.exists():
        read_results(out)  # what is no results file is not moved away either
        out.replace(out.with_name(out.name + ".old"))
    results.save()
    return results


def look_at(classifier: Classifier, picture: Path) -> Looked:
    """Read and judge one picture; what cannot be read comes back as a failure."""
    from edge.pictures import read_picture
    from edge.stills import look

    file, started = picture.as_posix(), time.perf_counter()
    try:
        image = read_picture(picture)
    except PictureError as error:
        return Looked(file, None, 0.0, str(error))
    result = look(classifier, image)
    return Looked(file, result, (time.perf_counter() - started) * 1000)


def enter(results: Results, name: str, looked: Looked) -> None:
    """Put one outcome into the results."""
    if looked.result is not None:
        results.add(name, looked.result)
    else:
        results.add_failure(name, looked.failure or "could not be read")


def name_in_results(picture: Path, base: Path | None) -> str:
    """The file's name in the results: relative to the folder given, with forward slashes (Timelapse's way)."""
    return (picture.relative_to(base) if base else picture).as_posix()
