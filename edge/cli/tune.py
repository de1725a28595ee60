"""``bear-alarm tune``: how much evidence an alarm should need at one place, from footage without bears."""

from __future__ import annotations

import itertools
import logging
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.options import ConfigOpt, ModelOpt, config_for, no_such_camera, settings_of
from edge.cli.output import JsonOpt, counted, print_json
from edge.errors import OptionError, SourceError
from edge.local_time import lasting

if TYPE_CHECKING:
    from edge.settings import CameraSettings, Settings
    from edge.tuning import Level, Peak, Tuned

log = logging.getLogger(__name__)

MAX_LINES = 8  # of the table of levels
MAX_PEAKS = 5
NEAR = 0.25  # share of the usual h from which a peak is worth a look


def tune(
    clip: Annotated[
        list[str] | None,
        typer.Argument(help="Recorded footage of your own camera with no bear in it, such as yard/*.mp4."),
    ] = None,
    trace: Annotated[
        list[Path] | None,
        typer.Option(
            help="What `watch --trace FILE` wrote while no bear was there; may be given again.  [without clips: the "
            "config's]"
        ),
    ] = None,
    budget: Annotated[str, typer.Option(help="False alarms you can bear: 1/day, 1/week, 2/month.")] = "1/week",
    model: ModelOpt = None,
    fps: Annotated[
        float | None, typer.Option(min=0.25, max=60.0, help="Frames analysed a second, as you watch. [default: 10]")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0.001, max=0.999, help="Bear probability that counts (default: the model's own)."),
    ] = None,
    night_threshold: Annotated[
        float | None,
        typer.Option(min=0.001, max=0.999, help="The threshold in the dark and in infrared (default: --threshold)."),
    ] = None,
    zone: Annotated[
        list[str] | None, typer.Option(help="Zones as you watch them: 'NAME=x,y x,y x,y …'; may be given again.")
    ] = None,
    mask: Annotated[
        list[str] | None, typer.Option(help="Masks as you watch: 'x,y x,y x,y …'; may be given again.")
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option(
            help="The camera of the config, or of the trace, whose footage it is: its zones, masks, thresholds."
        ),
    ] = None,
    config: ConfigOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Choose how much evidence an alarm needs, against a budget of false alarms.

    The alarm runs over clips of your place in which no bear is, or the trace of the live alarm is decided again: it
    covers weeks in seconds. The least evidence is chosen that keeps the rate of false alarms within the budget, as far
    as the footage can show it: T hours without an alarm only bound the rate at 3/T. What it advises is `watch
    --alarm-at`; give the other options as you watch.
    """
    from edge.camera import open_source
    from edge.cli.output import track
    from edge.decide.evidence import Rule
    from edge.detect.classifier import load
    from edge.detect.zones import parse_masks, parse_zones
    from edge.settings import CameraSettings
    from edge.tuning import choose, levels_of, listen, min_level, parse_budget, replay, runs_of

    wanted, clips = parse_budget(budget), clip or []
    traces = trace or ([] if clips else _configured_trace(config))
    if traces and mask:
        raise OptionError("--mask changes what is looked at, which no trace can show; give clips, or leave --mask out")
    runs = runs_of(traces, camera) if traces else []
    base, watched = _as_watched(camera, config, traced=[run.camera for _, run in runs])
    settings = CameraSettings(
        masks=parse_masks(mask) if mask else base.masks, zones=parse_zones(zone) if zone else base.zones
    )
    fps = base.fps if fps is None else fps
    check_clips(clips)
    classifier = load(model or watched.model, watched.state)
    rule = Rule.from_card(
        classifier.card,
        threshold=base.threshold if threshold is None else threshold,
        night_threshold=base.night_threshold if night_threshold is None else night_threshold,
    )
    least = min_level([run for _, run in runs])
    levels = tuple(level for level in levels_of(rule, fps) if level >= least - 1e-4)
    if not levels:
        raise OptionError(f"the trace was written with --alarm-at {least:g}; no higher level can be tried")
    heard, unread = [], []
    for path, run in runs:
        try:
            heard.append(replay(path, run, rule, levels, settings.zones))
        except OptionError as error:
            unread.append(f"skipped: {error}")
    replayed = list(heard)
    for word in clips:
        try:
            with open_source(word, fps=fps) as source:
                frames = track(source, f"listening to {source.name}", round((source.length_s or 0) * fps) or None)
                heard.append(listen(word, frames, classifier, rule, levels, settings))
            unread += source.problems
        except SourceError as error:
            unread.append(f"skipped: {error}")
    for problem in dict.fromkeys(unread):
        log.warning("%s", problem)
    if not sum(one.seconds for one in heard):
        raise SourceError(
            "there is no footage to judge by; give clips that can be read and last longer than a frame"
            ", or the trace of an alarm that ran for ten minutes or more"
        )
    found = choose(heard, rule, levels, wanted)
    if as_json:
        print_json({"model": classifier.name, "fps": fps, **asdict(found)})
        return
    print(f"{classifier.name} at {fps:g} frames a second")
    print(tuned_text(found, len(heard) - len(replayed), len({one.clip for one in replayed})))


def _configured_trace(config: Path | None) -> list[Path]:
    trace = settings_of(config_for(config)).trace
    if trace is None:
        raise OptionError(
            "tune by what? give clips of your own camera, or --trace FILE, which `bear-alarm watch --trace FILE` wrote"
        )
    return [trace]


def _as_watched(camera: str | None, config: Path | None, traced: Sequence[str]) -> tuple[CameraSettings, Settings]:
    """Return how a camera of the config is watched, and the config's settings; the defaults where none is named.

    ``traced``: the camera whose trace is read, which no config needs to name. Raises OptionError for one that is not
    there.
    """
    from edge.settings import CameraSettings, Settings

    name = traced[0] if traced else camera
    if name is None:
        return CameraSettings(), Settings()
    settings = settings_of(config_for(config))
    own = next((each.settings for each in settings.cameras if each.name == name), None)
    if own or traced:
        return own or CameraSettings(), settings
    if not settings.cameras:
        raise OptionError(f"--camera {name!r}: no config names a camera; `bear-alarm config init` writes one")
    raise no_such_camera(name, [each.name for each in settings.cameras], "config")


def check_clips(clips: list[str]) -> None:
    """Check the footage. Raises OptionError for what shows nothing about a rate, SourceError for what is not a file."""
    from edge.camera import DEMO
    from edge.pictures import SUFFIXES

    seen: set[Path] = set()
    for word in clips:
        path = Path(word).expanduser()
        if word == "demo" or (DEMO.exists() and path.exists() and path.samefile(DEMO)):
            raise OptionError(
                f"{word} is rendered footage: it shows that the alarm works, and not how often it is wrong "
                "at your place; give clips of your own camera"
            )
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is no recorded clip"
            raise SourceError(f"{word} {what}; give files of footage without bears, such as yard/*.mp4")
        if path.suffix.lower() in SUFFIXES:
            raise OptionError(f"{word} is a picture, which lasts no time; give recorded footage, such as yard/*.mp4")
        if path.resolve() in seen:
            raise OptionError(f"{word} is given twice; its hours count once, so give it once")
        seen.add(path.resolve())


def tuned_text(found: Tuned, clips: int, traces: int = 0) -> str:
    """Return what was found, for a person: the table, what to do, what it costs, and what to look at first."""
    usual, budget = found.levels[0], found.budget
    read = " and ".join(counted(number, what) for number, what in ((clips, "clip"), (traces, "trace")) if number)
    lines = [f"{read}, {lasting(found.hours * 3600.0)} of footage taken as free of bears", ""]
    lines.append(f"  {'--alarm-at':>10}  {'alarms':>6}  {f'at most {budget.each}':>16}  a sure bear alarms within")
    for level in _telling(found):
        mark = "   (as it is)" if level is usual else ""
        at_best = f"{level.seconds:.1f} s or {level.frames} frames"
        lines.append(f"  {level.alarm_at:>10g}  {level.alarms:>6}  {_rate(level.at_most):>16}  {at_best}{mark}")
    lines += ["  At most: the highest rate that this footage allows (95 %).", ""]
    if found.chosen is usual:
        lines.append(f"At most {budget}: as it is. No option is needed.")
    elif found.chosen:
        lines.append(f"At most {budget}: use --alarm-at {found.chosen.alarm_at:g}. {_cost(usual, found.chosen)}")
    else:
        lines += _not_supported(found)
    return "\n".join([*lines, *_look_at(found)])


def _telling(found: Tuned) -> list[Level]:
    """Return the levels at which something changes, the first of them where there are many."""
    levels = found.levels
    changed = [levels[0], *(two for one, two in itertools.pairwise(levels) if one.alarms != two.alarms)]
    wanted = [level for level in (found.chosen, found.quiet) if level]
    return sorted(
        {level.alarm_at: level for level in [*changed[:MAX_LINES], *wanted]}.values(), key=attrgetter("alarm_at")
    )


def _not_supported(found: Tuned) -> list[str]:
    """Return what the footage cannot show, how much it would take, and what to do meanwhile."""
    usual, quiet, budget = found.levels[0], found.quiet, found.budget
    cannot = f"{budget} is not supported by this footage"
    if found.hours < found.needed_hours:
        most = f"{_rate(found.bound)} {budget.each} (3/T, 95 %)"
        cannot += (
            f": it is {lasting(found.hours * 3600.0)} long, and so little, even without an alarm, only shows that "
            "there are at "
        )
        cannot += f"most {most}. It takes {lasting(found.needed_hours * 3600.0)} without one"
    if quiet is None:
        level = f"{found.levels[-1].alarm_at:g}"
        noisy = (
            f"It alarms here even at --alarm-at {level}, so no level can be advised. Look at what raised it (below): "
        )
        noisy += "with a bear in view the clip does not count; without one, keep it out with --zone or --mask."
        return [noisy, f"{cannot}."]
    if quiet is usual:
        return [f"{cannot}.", "As it is, this footage is quiet. Record more of it, or allow more false alarms."]
    return [f"{cannot}.", f"This footage is quiet from --alarm-at {quiet.alarm_at:g} on. {_cost(usual, quiet)}"]


def _look_at(found: Tuned) -> list[str]:
    """Return what came nearest to an alarm: were it a bear, all of it would be wrong."""
    usual = found.levels[0].alarm_at
    near = [peak for peak in found.peaks if peak.sum >= NEAR * usual][:MAX_PEAKS]
    if not near:
        return ["", "Nothing came near an alarm."]
    first = near[0]
    return [
        "",
        "All this holds only where no bear is in view. What came nearest to an alarm, or raised it:",
        *(f"  {each.clip} at {_at(each)}: evidence {each.sum:.1f} of {usual:g}, bear {each.bear:.2f}" for each in near),
        f"Look at it: {_look(first)}",
    ]


def _at(peak: Peak) -> str:
    return f"{peak.time_s:.1f} s" if peak.why is None or peak.why[-1] != "Z" else peak.why


def _look(peak: Peak) -> str:
    if peak.why is not None:
        return f"bear-alarm why {peak.why} --trace {shlex.quote(peak.clip)}"
    return f"bear-alarm snapshot {shlex.quote(peak.clip)} --at {peak.time_s:.1f}"


def _cost(usual: Level, level: Level) -> str:
    return (
        f"It costs a sure bear {level.seconds - usual.seconds:.1f} s: it alarms within {level.seconds:.1f} s or "
        f"{level.frames} scored frames, whichever is later, not {usual.seconds:.1f} s or {usual.frames}."
    )


def _rate(alarms: float) -> str:
    """Return a rate with two digits: more would not be more exact."""
    return f"{float(f'{alarms:.2g}'):,g}" if alarms < 1e5 else f"{float(f'{alarms:.2g}'):,.0f}"
