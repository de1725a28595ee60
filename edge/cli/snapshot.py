"""``bear-alarm snapshot``: one frame with what the alarm sees drawn on it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.options import ConfigOpt, ModelOpt, config_for, configured, settings_of
from edge.errors import OptionError, SourceError

if TYPE_CHECKING:
    from edge.detect.card import Card
    from edge.detect.motion import Motion
    from edge.detect.zones import Polygon
    from edge.drawing import Colour, Mark
    from edge.schema import Frame, Picture, Score
    from edge.settings import CameraSettings, Settings


log = logging.getLogger(__name__)

SETTLE_FRAMES = 15  # a live camera finds its exposure and the background its noise
SETTLE_S = 3.0  # of a file before the frame in question
ROWS = 24  # of the table
MIN_WORDS = 0.1  # a place of the frame scan with a lower bear probability is drawn without it; the table has it

SourceArg = Annotated[
    str | None,
    typer.Argument(
        help="0, /dev/video0, rtsp://…, http://…, a clip, a picture, a folder, demo, or the name of a camera in the "
        "config (default: the only one there)."
    ),
]
ZoneOpt = Annotated[
    list[str] | None,
    typer.Option(help="A zone to draw, as `watch` takes it: 'NAME=x,y x,y x,y …', fractions of the frame."),
]
MaskOpt = Annotated[
    list[str] | None, typer.Option(help="A mask, as `watch` takes it: 'x,y x,y x,y …'; nothing is looked at there.")
]


def snapshot(
    source: SourceArg = None,
    out: Annotated[Path, typer.Option(help="The picture to write (.jpg or .png).")] = Path("snapshot.jpg"),
    at: Annotated[float | None, typer.Option(min=0.0, help="Seconds into a file (default: 3).")] = None,
    model: ModelOpt = None,
    zone: ZoneOpt = None,
    mask: MaskOpt = None,
    config: ConfigOpt = None,
) -> None:
    """Save one frame with what the alarm sees drawn on it: what moves, and what looks like a bear.

    Aim a camera with it: an animal should be 45 pixels long or more where you want it seen. To see it work:
    `bear-alarm snapshot demo --at 16`.
    """
    from edge.camera import open_source, shown
    from edge.detect.classifier import load
    from edge.detect.frame_scan import FrameScanner
    from edge.detect.zones import PrivacyMask, parse_masks, parse_zones
    from edge.drawing import annotate
    from edge.files import need_folder
    from edge.pictures import SUFFIXES

    source, own, settings = _camera(source, config)
    zones = parse_zones(zone) if zone else own.zones
    masks = parse_masks(mask) if mask else own.masks
    if out.suffix.lower() not in SUFFIXES:
        raise OptionError(f"{out}: cannot tell the kind of picture; name it something.jpg")
    need_folder(out)
    if out.exists() and Path(source).exists() and out.samefile(source):
        raise OptionError(f"{out}: is the picture to look at; name another --out")
    classifier = load(model or settings.model, settings.state)
    with open_source(source) as frames:
        if frames.live and at is not None:
            raise OptionError(f"--at {at:g}: {shown(source)} is live and shows what is there now; leave --at out")
        frame, motion = _settled(frames, shown(source), SETTLE_FRAMES if frames.live else None, at, masks)
        for problem in frames.problems:
            log.warning("%s", problem)
    covered = PrivacyMask(masks)(frame.image)  # as the alarm sees it
    scores = [*classifier.score(covered, motion.regions), *FrameScanner(classifier, masks).beside_crops(covered)]
    width, height = frame.size_wh
    when = "" if frame.media_time_s is None else f" at {frame.media_time_s:.1f} s"
    caption = f"{frame.camera}{when}  {width}x{height}  {classifier.name}"
    _write(out, annotate(frame.image, marks(scores, classifier.card), caption, zones, masks, legend()))
    if scores:
        _table(scores, classifier.card, frame)
    else:
        log.warning("The masks leave nothing to look at: every window is covered to nine tenths; make them smaller.")
    if motion.moving:
        log.info("The picture as a whole moves; the alarm looks at it as a whole instead of following what moves.")
    also = [*(["blue the zones"] if zones else []), *(["hatched the masks"] if masks else [])]
    log.info(
        "%s written: %s.",
        out,
        ", ".join(["yellow what moves, grey what a look at the whole finds, red the most bear-like", *also]),
    )


def _camera(source: str | None, config: Path | None) -> tuple[str, CameraSettings, Settings]:
    """Return where the picture comes from, the zones and masks of that camera, and the config's settings.

    Raises OptionError.
    """
    from edge.settings import CameraSettings

    settings = settings_of(config_for(config, [source] if source else []))
    if source is None:
        if len(settings.cameras) != 1:
            names = ", ".join(camera.name for camera in settings.cameras)
            which = f"name one of {names}" if names else "name one: `bear-alarm snapshot 0` is the first camera"
            raise OptionError(f"no camera is named; {which}")
        camera = settings.cameras[0]
        return camera.source, camera.settings, settings
    found = configured(settings, source)
    return (found.source, found.settings, settings) if found else (source, CameraSettings(), settings)


def legend() -> list[tuple[str, Colour]]:
    """Return what the colours of the boxes mean, shortly."""
    from edge.drawing import ALARM, FOUND, MOVING

    return [("most bear-like", ALARM), ("moves", MOVING), ("in the whole picture", FOUND)]


def marks(scores: list[Score], card: Card) -> list[Mark]:
    """List the marks to draw, the most important last: scan hits, what moves, in bold the most bear-like."""
    from edge.drawing import ALARM, FOUND, MOVING, Mark
    from edge.schema import WHOLE

    if not scores:
        return []
    # Of those as sure as the surest the smallest: it shows best where.
    best = min(scores, key=lambda score: (-round(score.bear, 2), score.region.box_xywh[2] * score.region.box_xywh[3]))
    drawn = []
    for score in sorted(scores, key=lambda score: (score.region.kind == "motion", score.bear)):
        moves = score.region.kind == "motion"
        if score is not best and score.region.box_xywh != WHOLE:
            words = f"{score.bear:.2f}" if moves or score.bear >= MIN_WORDS else ""
            drawn.append(Mark(score.region.box_xywh, words, MOVING if moves else FOUND))
    bear = best.bear >= card.thresholds["crop"].value
    words = f"{best.label.replace('_', ' ') if bear else 'most bear-like'} {best.bear:.2f}"
    return [*drawn, Mark(best.region.box_xywh, words, ALARM, bold=True)]


def _settled(
    frames: Iterable[Frame], source: str, count: int | None, at: float | None, masks: Sequence[Polygon]
) -> tuple[Frame, Motion]:
    """Return the frame in question, and what moves in it against those before."""
    from edge.detect.motion import MotionFinder

    finder = MotionFinder(masks=masks)
    frame, motion = None, None
    wanted = SETTLE_S if at is None else at
    for frame in frames:
        # A background older than a few seconds shows nothing about now.
        if count is None and at is not None and frame.time < at - SETTLE_S:
            continue
        motion = finder(frame)
        if (count is not None and frame.index + 1 >= count) or (count is None and frame.time >= wanted - 1e-6):
            return frame, motion
    if frame is None:
        raise SourceError(f"{source}: gave no frame")
    if at is not None and frame.time < at - 1.0:
        raise OptionError(f"{source}: its last frame is at {frame.time:.1f} s; give an earlier --at than {at:g}")
    return frame, motion or finder(frame)


def _write(out: Path, picture: Picture) -> None:
    import cv2

    from edge.files import replace_whole

    _, data = cv2.imencode(out.suffix.lower(), picture)
    replace_whole(out, data.tobytes())


def _table(scores: list[Score], card: Card, frame: Frame) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("bear", "label", "looked at", "box in pixels"):
        table.add_column(heading, justify="right" if heading == "bear" else "left")
    width, height = frame.size_wh
    names = {"motion": "what moves", "scan": "whole picture", "track": "track"}
    for score in sorted(scores, key=lambda score: -score.bear)[:ROWS]:
        x, y, w, h = score.region.box_xywh
        label = card.labels[max(range(len(card.labels)), key=score.probabilities.__getitem__)]
        where = f"{round(w * width)}x{round(h * height)} at {round(x * width)},{round(y * height)}"
        table.add_row(f"{score.bear:.3f}", label.replace("_", " "), names[score.region.kind], where)
    Console().print(table)
    Console().print(f"A bear counts from {card.thresholds['crop'].value:.3f} on.")
