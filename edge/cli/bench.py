"""``bear-alarm bench``: what the alarm costs on this machine, and what follows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from edge.cli.bench_measure import MIN_CROPS, Bench, Cost, Way, measure
from edge.cli.options import ModelOpt
from edge.cli.output import JsonOpt, counted, print_json

FRAME_S = 0.25  # the same as edge.settings.CameraSettings.frame_s
NEAR = 0.05  # of a ratio: within that, two ways are equally fast
SLOWED = 1.25
ENOUGH_ROUNDS = 9  # to judge whether it became slower


def bench(
    model: ModelOpt = None,
    against: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="Another model file to compare it with; may be repeated.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1.0, max=3600.0, help="How long to measure; five rounds at least.")
    ] = 20.0,
    as_json: JsonOpt = False,
) -> None:
    """Measure what the alarm costs on this machine, and which way of running the model is fastest here.

    The same file is run as it is and in float, one crop at a time and a full set of twelve, on one thread and on all
    cores, all by turns; and one 1280x720 frame is read, looked at for motion and as a whole, and compressed. End a
    running alarm first: both would be slower.
    """
    from edge.detect.classifier import find

    found = measure([find(model), *map(find, against or [])], seconds)
    if as_json:
        print_json(report(found))
    else:
        print(bench_text(found))


def report(found: Bench) -> dict[str, Any]:
    """Return all figures and what follows from them, ready for JSON."""
    follows = {
        "crops_in_a_frame": found.crops_within(FRAME_S),
        "cameras_quiet": round(found.cameras(), 1),
        "cameras_moving": round(found.cameras(MIN_CROPS), 1),
        "cameras_busy": round(found.cameras(found.crops_within(FRAME_S)), 1),
        "words": what_follows(found),
    }
    return {**asdict(found), "follows": follows}


def bench_text(found: Bench) -> str:
    """Return the table and what follows, for a person."""
    first = found.ways[0]
    many = any(way.model != first.model for way in found.ways)
    rows = [(_way_words(way, first, named=many), way.cost) for way in found.ways]
    rows += [("read a frame of H.264", found.read), ("look for motion, nothing moves", found.motion)]
    rows += [("look at it as a whole", found.scan), ("compress it for evidence", found.jpeg)]
    wide = max(len(words) for words, _ in rows)
    lines = [
        f"{first.model} on {found.machine}, {counted(found.cores, 'core')}",
        f"{found.rounds} rounds in {found.seconds:.0f} s; frames are 1280x720",
        "",
        f"  {'':<{wide}}  {'median':>9}  eight of ten rounds",
        *(f"  {words:<{wide}}  {_cost(cost)}" for words, cost in rows),
        "",
    ]
    memory = ", ".join(f"{mb:.0f} MB in {name}" for name, mb in found.memory_mb.items() if mb is not None)
    lines += [f"Memory at the most: {memory}."] if memory else []
    if found.before_c is not None and found.after_c is not None:
        lines.append(f"Temperature: {found.before_c:.0f} °C before, {found.after_c:.0f} °C after.")
    return "\n".join([*lines, *what_follows(found)])


def what_follows(found: Bench) -> list[str]:
    """Return sentences: which way is fastest here, how many crops a frame and how many cameras there may be."""
    words = [*_precisions(found), *_models(found)]
    crops, frame_s = found.crops_within(FRAME_S), found.ways[0].crop_ms / 1000.0
    if crops * frame_s <= FRAME_S:
        words.append(f"{FRAME_S:g} s for a frame leave room for {counted(crops, 'crop')}.")
    else:
        words.append(
            f"A frame is given {crops} crops in any case, which take {crops * frame_s:.2f} s here: fewer frames are "
            "looked at than are set, and an animal that does not move is found later."
        )
    quiet = found.cameras()
    if quiet >= 1.0:
        least, many = (int(found.cameras(each)) or "none" for each in (MIN_CROPS, crops))
        busy = f"{least} with {MIN_CROPS} crops in every frame (one animal)"
        busy += f", {many} with {crops} (rain)" if crops > MIN_CROPS else ""
        words.append(f"At 10 frames a second it can watch {counted(int(quiet), 'quiet camera')}, {busy}.")
        words.append(
            "That is worked out from the steps above; `bear-alarm watch CLIP` shows what a frame of yours takes."
        )
    else:
        words.append(f"At 10 frames a second it cannot watch one camera; {quiet * 10.0:.1g} frames a second it can.")
    if found.rounds >= ENOUGH_ROUNDS and found.slowed > SLOWED:
        words.append(
            f"At the end all took {found.slowed:.1f} times as long as at the beginning: it grew too warm, or something "
            "else was running."
        )
    return words


def _precisions(found: Bench) -> list[str]:
    first = found.ways[0]
    other = next((way for way in found.ways if way.precision == "float" and way.model == first.model), None)
    if first.precision == "float":
        return ["This processor computes int8 wrongly, so the model runs in float."]
    if other is None:
        return []
    ratio = other.crop_ms / first.crop_ms
    if abs(ratio - 1.0) <= NEAR:
        return [f"{first.precision} is as fast as the same file in float."]
    if ratio > 1.0:
        return [f"{first.precision} is {ratio:.1f} x as fast as the same file in float."]
    advice = (
        "export it with `--precision fp32`, compare the two with `bench --against FILE`, choose one with `model use`"
    )
    return [f"The same file is {1.0 / ratio:.1f} x as fast in float as in {first.precision}: {advice}."]


def _models(found: Bench) -> list[str]:
    first = found.ways[0]
    others = {way.model: way for way in reversed(found.ways) if way.model != first.model}
    words = []
    for name, way in others.items():
        longer = f"{way.crop_ms / first.crop_ms:.2f} x as long for a crop as {first.model} ({first.precision})"
        words.append(f"{name} ({way.precision}) takes {longer}.")
    return words


def _way_words(way: Way, first: Way, *, named: bool) -> str:
    crops, threads = counted(way.crops, "crop"), counted(way.threads, "thread")
    model = f"{way.model}, " if named else ""
    usual = " (as the alarm runs)" if way == first else ""
    return f"score {crops}, {model}{way.precision}, {threads}{usual}"


def _cost(cost: Cost) -> str:
    return f"{cost.median_ms:>6.1f} ms  {cost.low_ms:.1f} to {cost.high_ms:.1f}"
