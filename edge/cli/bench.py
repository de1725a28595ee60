"""``bear-alarm bench``: is this machine fast enough, for how many cameras, and at which settings?"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from edge.cli.bench_measure import CODECS, FPS, Bench, Spread, measure
from edge.cli.options import ModelOpt
from edge.cli.output import JsonOpt, counted, print_json
from edge.errors import OptionError
from edge.version import __version__

NEAR = 0.05  # of a ratio: within that, two ways are equally fast
SLOWED = 1.25
MIN_FPS = 0.25  # as `watch` takes it
UNKNOWN = "not measured"
HEAD = f"{'half':>8}{'95 %':>8}{'all':>8}"
ROWS = {
    "motion": "look for motion",
    "crop": "cut out what moves",
    "inference": "ask the model",
    "scan": "search the whole of it",
    "decide": "decide",
    "evidence": "keep pictures",
}
DISTURBED = "other programs were running: stop them and measure again"
COLUMNS = (
    "machine", "system", "Python", "onnxruntime", "model", "crop", "frame idle / active", "cameras quiet / busy",
    "latency p95", "start", "memory", "power at rest / busy", "hottest", "version", "date",
)  # fmt: skip


def bench(
    model: ModelOpt = None,
    against: Annotated[
        list[str] | None, typer.Option(metavar="MODEL", help="Another model file to compare it with; may be repeated.")
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(
            min=15.0,
            max=3600.0,
            help="How long to measure, beside the start; 600 shows what heat does to this machine.",
        ),
    ] = 15.0,
    row: Annotated[bool, typer.Option("--row", help="Print a line for the table of boards in docs/boards.md.")] = False,
    as_json: JsonOpt = False,
) -> None:
    """Measure whether this machine is fast enough, for how many cameras, and at which settings.

    The alarm's own loop analyses the bundled clip, as H.264 and as MJPEG, while nothing moves and while animals pass;
    then on all cores together. `watch` is started once, for its start and memory. It takes about a minute, on a slow
    board a few minutes. Stop a running alarm and other programs first.
    """
    from edge.detect.classifier import find

    if row and as_json:
        raise OptionError("--row and --json are two ways to print the result; give one of them")
    _need_quiet()
    found = measure([find(model), *map(find, against or [])], seconds)
    if as_json:
        print_json(report(found))
    elif row:
        if found.disturbed:
            raise OptionError(DISTURBED)
        print(table_row(cells(found)))
    else:
        print(bench_text(found))


def _need_quiet() -> None:
    """Raise OptionError while an alarm runs here: each would slow the other down."""
    from edge.cli.doctor.findings import Target
    from edge.device.systemd_host import NAME
    from edge.settings import Settings

    if Target(Settings()).alarm_runs:
        raise OptionError(
            "an alarm is running here, and would be slowed down; stop it first (as a service: "
            f"sudo systemctl stop {NAME}), and start it again afterwards"
        )


def report(found: Bench) -> dict[str, Any]:
    """Return all figures and what follows from them, ready for JSON."""
    software = {"bear_alarm": __version__, "python": platform.python_version(), "onnxruntime": _onnxruntime()}
    follows = {f"cameras_{kind}": found.cameras(kind) for kind in FPS} | {"words": what_follows(found)}
    return {"software": software, **asdict(found), "busy_w": found.busy_w, "fps": FPS, "follows": follows}


def bench_text(found: Bench) -> str:
    """Return the table and what follows, for a person."""
    first, cores = found.ways[0], counted(found.machine.cores, "core")
    program = {
        "Start to the first picture analysed": _unit(found.start_s, "s", 1),
        "Memory at most": _unit(found.memory_mb, "MB"),
        "Power": _power(found),
    }
    lines = [
        *what_follows(found),
        "",
        f"{_machine(found)}, {cores}; {found.model}, {first.precision}; {found.seconds:.0f} s; pictures of 1280x720",
        "",
        f"{'':24}{'nothing moves':>24}   {f'animals pass, {found.crops:.1f} crops':>24}",
        f"{'milliseconds at most in':24}{HEAD}   {HEAD}",
        *_stage_lines(found),
        f"{'from picture to alarm':24}{'':24}   {_times(found.latency_ms)}",
        f"{'write down an alarm':24}{'':24}   {_times(found.journal)}",
        "",
        f"A crop: {'; '.join(_way_words(found))}.",
        f"All cores together analyse {found.speedup:.1f} times the pictures of one.",
        " ".join(f"{what}: {words}." for what, words in program.items()),
        _heat(found),
    ]
    return "\n".join(lines)


def _stage_lines(found: Bench) -> Iterator[str]:
    decoded = {f"decode {codec}": f"unpack it, {codec}" for codec in CODECS}
    for stage, words in (decoded | ROWS).items():
        yield f"{words:24}" + "   ".join(_times(found.stages[kind].get(stage)) for kind in FPS)
    for codec in CODECS:
        yield f"{f'a picture, {codec}':24}" + "   ".join(_times(found.frames[kind][codec]) for kind in FPS)


def _times(spread: Spread | None) -> str:
    return f"{spread.p50:8.2f}{spread.p95:8.2f}{spread.max:8.2f}" if spread else f"{'–':>8}" * 3


def _way_words(found: Bench) -> Iterator[str]:
    for way in found.ways:
        named = f"{way.model} " if way.model != found.model else ""
        yield f"{named}{way.precision}, {counted(way.threads, 'thread')} {way.crop.p50:.1f} ms"


def _heat(found: Bench) -> str:
    rounds = found.rounds
    degrees = [f"{each.temperature_c:.0f}" for each in rounds if each.temperature_c is not None]
    clocks = [each.mhz for each in rounds if each.mhz is not None]
    slowed = {each.slowed for each in rounds}
    parts = [f"a crop {', '.join(f'{each.crop_ms:.1f}' for each in rounds)} ms"]
    if degrees:
        parts.append(f"processor {', '.join(degrees)} °C")
    if clocks:
        parts.append(f"lowest clock {min(clocks):.0f} MHz")
    if slowed != {None}:
        parts.append(f"slowed down {'yes' if True in slowed else 'no'}")
    return f"In fifths of the time: {'; '.join(parts)}."


def what_follows(found: Bench) -> list[str]:
    """Return sentences: how many cameras fit, at which settings, and what slows this machine down."""
    disturbed = [f"{DISTURBED.capitalize()}."] if found.disturbed else []
    return [*disturbed, _fit(found), *_precisions(found), *_models(found), *_slowed(found)]


def _fit(found: Bench) -> str:
    if found.by_memory < 1.0:
        return f"Only {found.free_mb:.0f} MB of memory are free, too little for one camera: end other programs."
    fps = FPS["active"]
    busy = found.cameras("active")
    if busy >= 1.0:
        words = f"Use the settings as they are: {_cameras(found.cameras('idle'), fps)}, {int(busy)} where something"
        return f"{words} always moves. {_limit(found)}"
    slower = busy * fps  # frames a second of one camera
    slower = float(int(slower)) if slower >= 1.0 else int(slower * 100) / 100
    if slower < MIN_FPS or (quiet := found.cameras("idle", slower / 2)) < 1.0:
        return "This machine is too slow: not one camera fits."
    return (
        f"Use `--fps {slower:g}`: {_cameras(quiet, slower)}, 1 where something always moves. A bear is noticed later "
        "than on a faster machine."
    )


def _cameras(count: float, fps: float) -> str:
    one = int(count) == 1
    sends = "sends" if one else "send"
    return (
        f"{counted(int(count), 'camera')} of 1280x720 that {sends} {fps:g} frames a second {'fits' if one else 'fit'}"
    )


def _limit(found: Bench) -> str:
    quiet, busy = ("memory" if found.by_memory < found.by_processor(kind) else "the processor" for kind in FPS)
    if quiet == busy:
        return f"The limit is {quiet}."
    return f"The limit is {quiet} where nothing moves, {busy} where something does."


def _precisions(found: Bench) -> list[str]:
    first = found.ways[0]
    if first.precision == "float":
        return ["This processor computes int8 wrongly, so the model runs in float."]
    other = next((way for way in found.ways if way.precision == "float" and way.model == first.model), None)
    if other is None or other.crop.p50 / first.crop.p50 >= 1.0 - NEAR:
        return []
    todo = "export it with `--precision fp32`, compare the two with `bench --against FILE`, choose one with `model use`"
    return [f"The model is {first.crop.p50 / other.crop.p50:.1f} x as fast in float as in {first.precision}: {todo}."]


def _models(found: Bench) -> list[str]:
    first = found.ways[0]
    others = {way.model: way for way in reversed(found.ways) if way.model != first.model}
    return [
        f"{name} ({way.precision}) takes {way.crop.p50 / first.crop.p50:.2f} x as long for a crop as {first.model} "
        f"({first.precision})."
        for name, way in others.items()
    ]


def _slowed(found: Bench) -> list[str]:
    ratio = found.rounds[-1].crop_ms / found.rounds[0].crop_ms
    if any(each.slowed for each in found.rounds):
        return ["It was slowed down by heat or low voltage: give it a better supply, a heat sink or air."]
    if ratio > SLOWED:
        why = "it grew too warm, or something else was running"
        return [f"At the end a crop took {ratio:.1f} times as long as at the beginning: {why}."]
    return []


def cells(found: Bench) -> tuple[str, ...]:
    """Return what the table of boards has in each column."""
    machine, first = found.machine, found.ways[0]
    frames = " / ".join(_unit(max((each.mean for each in found.frames[kind].values() if each), default=None), "ms", 1)
                        for kind in FPS)  # fmt: skip
    cameras = " / ".join(str(int(found.cameras(kind))) for kind in FPS)
    hottest = max((each.temperature_c for each in found.rounds if each.temperature_c is not None), default=None)
    return (
        f"{_machine(found)}, {counted(machine.cores, 'core')}",
        machine.system or platform.system(),
        platform.python_version(),
        _onnxruntime(),
        f"{found.model}, {first.precision}",
        _unit(first.crop.p50, "ms", 1),
        frames,
        cameras,
        _unit(found.latency_ms.p95 if found.latency_ms else None, "ms"),
        _unit(found.start_s, "s", 1),
        _unit(found.memory_mb, "MB"),
        _power(found),
        _unit(hottest, "°C"),
        __version__,
        f"{datetime.now(UTC):%Y-%m-%d}",
    )


def table_row(words: tuple[str, ...]) -> str:
    """Return one line of a Markdown table."""
    return f"| {' | '.join(each.replace('|', '/') for each in words)} |"


def _machine(found: Bench) -> str:
    return ", ".join(filter(None, (found.machine.board, found.processor))) or found.machine.machine


def _power(found: Bench) -> str:
    if found.rest_w is None or found.busy_w is None:
        return UNKNOWN
    return f"{found.rest_w:.1f} / {found.busy_w:.1f} W ({found.power_of})"


def _unit(value: float | None, unit: str, digits: int = 0) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f} {unit}"


def _onnxruntime() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)
