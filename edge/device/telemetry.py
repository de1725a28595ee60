"""Telemetry for programs that watch the alarm: ``/healthz`` and ``/metrics``.

Nothing here can hold up the alarm: it reads ``Status``, at most once a second, in threads of its own, of which there
are never more than a few. The server has no password, so by default only this machine may ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edge.status import Status

# The figures: for Prometheus, and in short for MQTT.


def metrics_text(status: Status) -> str:
    """Write every figure as Prometheus reads it, each with its HELP and TYPE.

    In base units: seconds, bytes, degrees Celsius, shares from 0 to 1. What is not known is omitted. Sentences are no
    labels, for each new one would be a new series: ``/healthz`` has them.
    """
    lines: list[str] = []

    def add(name: str, kind: str, words: str, samples: Iterable[tuple[Mapping[str, str], float | None]]) -> None:
        full = f"bear_alarm_{name}"
        known = [f"{full}{_labels(labels)} {_number(value)}" for labels, value in samples if value is not None]
        if known:
            lines.extend([f"# HELP {full} {words}", f"# TYPE {full} {kind}", *known])

    def one(name: str, words: str, value: float | None, kind: str = "gauge") -> None:
        add(name, kind, words, [({}, value)])

    one("up", "Whether the alarm can be relied on now; 0: /healthz says why it cannot.", not status.ill)
    info = {"version": status.version, "model": status.model}
    add("info", "gauge", "The version that runs and its model, always 1.", [(info, 1)])
    one("uptime_seconds", "Since the alarm was started.", status.uptime_s)
    one("alarms_total", "Bears reported since the start.", status.alarms, "counter")
    parts = [({"part": name}, 1) for name in status.problems]
    add("problem", "gauge", "Parts of the alarm that are reported as not well, each 1.", parts)
    crop_s = None if status.crop_ms is None else round(status.crop_ms / 1000.0, 7)
    one("crop_seconds", "What scoring one crop takes, lately.", crop_s)
    one("inference_age_seconds", "Since a heartbeat inference finished.", status.inference_age_s)
    words = "Share of the frame rates that are set which is kept up in heat and at low voltage, 0 to 1."
    one("fps_ratio", words, status.fps_share)
    one("temperature_celsius", "Of the processor.", status.temperature_c)
    one("undervolted", "Whether the power supply is too weak now.", status.undervolted)
    free = None if status.disk_free_mb is None else status.disk_free_mb * 1e6
    one("disk_free_bytes", "Left on the disk of the state folder.", free)
    one("durable", "Whether events are on the disk when they count as delivered.", status.durable)

    def each(what: str, names: Iterable[str], parts: Iterable[Any], rows: Iterable[Any]) -> None:
        labels = [{what: name} for name in _different(names)]
        for name, kind, words, value in rows:
            add(f"{what}_{name}", kind, words, zip(labels, map(value, parts), strict=True))

    each("camera", [camera.name for camera in status.cameras], status.cameras, [
        ("fresh", "gauge", "Whether its frames are being looked at.", lambda it: it.fresh),
        ("live", "gauge", "Whether it is a camera or stream, and no file.", lambda it: it.live),
        ("frame_age_seconds", "gauge", "Since the last frame was delivered.", lambda it: it.frame_age_s),
        ("alive_age_seconds", "gauge", "Since its loop or reconnecting last went on.", lambda it: it.alive_age_s),
        ("frames_total", "counter", "Frames looked at since the start.", lambda it: it.frames),
        ("fps", "gauge", "Frames a second that are asked of it now.", lambda it: it.fps),
        ("reopened_total", "counter", "How often it was reopened.", lambda it: it.reopened),
        ("trouble", "gauge", "Whether something is reported as wrong with it.", lambda it: it.trouble is not None),
    ])  # fmt: skip
    each("sink", [sink.name for sink in status.sinks], status.sinks, [
        ("failures_total", "counter", "Calls that failed.", lambda it: it.failures),
        ("dropped_total", "counter", "Events that were never delivered.", lambda it: it.dropped),
        ("hung_total", "counter", "Calls that passed their deadline.", lambda it: it.hung),
        ("trouble", "gauge", "Whether it reports that it cannot work.", lambda it: it.problem is not None),
    ])  # fmt: skip
    each("channel", [channel.key for channel in status.channels], status.channels, [
        ("waiting", "gauge", "Messages that are not delivered yet.", lambda it: it.waiting),
        ("parked", "gauge", "Messages that were refused for good.", lambda it: it.dead_letters),
        ("trouble", "gauge", "Whether it cannot be reached.", lambda it: it.problem is not None),
    ])  # fmt: skip
    return "".join(f"{line}\n" for line in lines)


def _different(names: Iterable[str]) -> list[str]:
    """Give names that are the same a number: Prometheus would refuse the whole page."""
    found: list[str] = []
    for name in names:
        spellings = (name, *(f"{name} #{number}" for number in range(2, len(found) + 3)))
        found.append(next(each for each in spellings if each not in found))
    return found


def _labels(labels: Mapping[str, str]) -> str:
    def escaped(value: str) -> str:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    pairs = ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def _number(value: float) -> str:
    number = float(value)
    if number.is_integer():
        return str(int(number))
    return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}.get(repr(number), repr(number))


def stats_of(status: Status) -> dict[str, object]:
    """Return the content of MQTT's ``stats``: the alarm itself, flat enough for a template of Home Assistant."""
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
            each.name: {"fresh": each.fresh, "fps": round(each.fps, 1), "trouble": each.trouble, "stage": each.stage}
            for each in status.cameras
        },
        "waiting": sum(each.waiting for each in status.channels),
        "parked": sum(each.dead_letters for each in status.channels),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
