"""The alarm's figures for Prometheus, in its text exposition format 0.0.4, and in short for MQTT.

Base units, as Prometheus wants them: seconds, bytes, degrees Celsius, shares from 0 to 1. What is not known is left
out. Sentences are no labels, for each new one would be a new series: ``/healthz`` has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, TypeVar

from edge.status import CameraStatus, ChannelStatus, SinkStatus, Status

PREFIX = "bear_alarm_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Kind = Literal["gauge", "counter"]
Value = float | bool | None
T = TypeVar("T")
Row = tuple[str, Kind, str, Callable[[T], Value]]  # name, kind, what HELP says, and the value of one part


def metrics_text(status: Status) -> str:
    """Every figure of ``status``, each with its HELP and TYPE; the last line ends with a line feed."""
    families = [*_whole(status), *_cameras(status), *_sinks(status), *_channels(status)]
    return "".join(line + "\n" for family in families for line in family)


def stats_of(status: Status) -> dict[str, object]:
    """What MQTT's ``stats`` says of the alarm itself, flat enough for a template of Home Assistant."""
    return {
        "well": not status.ill,
        "reason": "; ".join(status.ill) or None,
        "problems": dict(status.problems),
        "version": status.version,
        "model": status.model,
        "uptime_s": round(status.uptime_s),
        "alarms": status.alarms,
        "crop_ms": _rounded(status.crop_ms),
        "fps_share": round(status.fps_share, 2),
        "temperature_c": _rounded(status.temperature_c),
        "undervolted": status.undervolted,
        "disk_free_mb": _rounded(status.disk_free_mb),
        "durable": status.durable,
        "cameras": {
            each.name: {"fresh": each.fresh, "fps": round(each.fps, 1), "trouble": each.trouble}
            for each in status.cameras
        },
        "waiting": sum(each.waiting for each in status.channels),
        "parked": sum(each.parked for each in status.channels),
    }


def _whole(status: Status) -> Iterable[list[str]]:
    yield _one("up", "Whether the alarm can be relied on now; 0: /healthz says why it cannot.", not status.ill)
    labels = {"version": status.version, "model": status.model}
    yield _family("info", "gauge", "The version that runs and its model, always 1.", [(labels, 1)])
    yield _one("uptime_seconds", "Since the alarm was started.", status.uptime_s)
    yield _one("alarms_total", "Bears told since the start.", status.alarms, "counter")
    parts = [({"part": name}, 1) for name in status.problems]
    yield _family("problem", "gauge", "Parts of the alarm that are told to be unwell, each 1.", parts)
    yield _one("crop_seconds", "What scoring one crop takes, lately.", _thousandth(status.crop_ms))
    yield _one("inference_age_seconds", "Since a heartbeat inference finished.", status.inference_age_s)
    words = "Share of the frame rates that are set which is kept up in heat and at low voltage, 0 to 1."
    yield _one("fps_ratio", words, status.fps_share)
    yield _one("temperature_celsius", "Of the processor.", status.temperature_c)
    yield _one("undervolted", "Whether the power supply is too weak now.", status.undervolted)
    free = None if status.disk_free_mb is None else status.disk_free_mb * 1e6
    yield _one("disk_free_bytes", "Left on the disk of the state folder.", free)
    yield _one("durable", "Whether events are on the disk when they count as told.", status.durable)


def _cameras(status: Status) -> Iterable[list[str]]:
    rows: list[Row[CameraStatus]] = [
        ("fresh", "gauge", "Whether its frames are being looked at.", lambda each: each.fresh),
        ("live", "gauge", "Whether it is a camera or stream, and no file.", lambda each: each.live),
        ("frame_age_seconds", "gauge", "Since the last frame was handed over.", lambda each: each.frame_age_s),
        ("alive_age_seconds", "gauge", "Since its loop or reconnecting last went on.", lambda each: each.alive_age_s),
        ("frames_total", "counter", "Frames looked at since the start.", lambda each: each.frames),
        ("fps", "gauge", "Frames a second that are asked of it now.", lambda each: each.fps),
        ("reopened_total", "counter", "How often it was reopened.", lambda each: each.reopened),
        ("trouble", "gauge", "Whether something is told to be wrong with it.", lambda each: each.trouble is not None),
    ]
    return _each("camera", [each.name for each in status.cameras], status.cameras, rows)


def _sinks(status: Status) -> Iterable[list[str]]:
    rows: list[Row[SinkStatus]] = [
        ("failures_total", "counter", "Calls that failed.", lambda each: each.failures),
        ("dropped_total", "counter", "Events that were never told.", lambda each: each.dropped),
        ("hung_total", "counter", "Calls that passed their deadline.", lambda each: each.hung),
        ("trouble", "gauge", "Whether it says that it cannot work.", lambda each: each.problem is not None),
    ]
    return _each("sink", [each.name for each in status.sinks], status.sinks, rows)


def _channels(status: Status) -> Iterable[list[str]]:
    rows: list[Row[ChannelStatus]] = [
        ("waiting", "gauge", "Messages that are not delivered yet.", lambda each: each.waiting),
        ("parked", "gauge", "Messages that were refused for good.", lambda each: each.parked),
        ("trouble", "gauge", "Whether it cannot be reached.", lambda each: each.problem is not None),
    ]
    return _each("channel", [each.key for each in status.channels], status.channels, rows)


def _each(what: str, names: Sequence[str], parts: Sequence[T], rows: Sequence[Row[T]]) -> Iterable[list[str]]:
    """The metrics of all parts of one kind: a part's name is the label."""
    labels = [{what: name} for name in _different(names)]
    for name, kind, words, value in rows:
        yield _family(f"{what}_{name}", kind, words, zip(labels, map(value, parts), strict=True))


def _one(name: str, words: str, value: Value, kind: Kind = "gauge") -> list[str]:
    return _family(name, kind, words, [({}, value)])


def _family(name: str, kind: Kind, words: str, samples: Iterable[tuple[Mapping[str, str], Value]]) -> list[str]:
    """The lines of one metric; none where nothing is known."""
    full = PREFIX + name
    known = [f"{full}{_in_braces(labels)} {_number(value)}" for labels, value in samples if value is not None]
    return [f"# HELP {full} {words}", f"# TYPE {full} {kind}", *known] if known else []


def _different(names: Iterable[str]) -> list[str]:
    """The names, numbered where two are the same: that would make Prometheus refuse the whole page."""
    found: list[str] = []
    for name in names:
        spellings = (name, *(f"{name} #{number}" for number in range(2, len(found) + 3)))
        found.append(next(each for each in spellings if each not in found))
    return found


def _in_braces(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float | bool) -> str:
    number = float(value)
    if number.is_integer():
        return str(int(number))
    return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}.get(repr(number), repr(number))


def _thousandth(value: float | None) -> float | None:
    return None if value is None else round(value / 1000.0, 7)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
