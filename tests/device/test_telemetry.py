"""``/healthz`` and ``/metrics``: what they show, in a format another parser reads, and the figures for MQTT."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.device.telemetry import metrics_text, stats_of
from edge.status import CameraStatus, ChannelStatus, SinkStatus, Status

YARD = CameraStatus("yard", True, True, 0.25, 0.5, 1200, 5.0, None, 2)
SIREN = SinkStatus("sound siren", 1, 2, 3, None)
BROKER = ChannelStatus("mqtt 10.0.0.7:1883", 4, 1, "no connection")
WELL = Status("0.3.0", "bear@12ab", 60.5, (YARD,), (SIREN,), (BROKER,), alarms=7, crop_ms=6.1)


def test_a_camera_that_shows_no_bear_is_ill_though_frames_come():
    frozen = replace(YARD, blind=True, trouble="yard: the same picture for 9 s; switch the camera off and on")
    assert replace(WELL, cameras=(frozen,)).ill == [frozen.trouble]
    assert not stats_of(replace(WELL, cameras=(frozen,)))["well"]


def test_a_worn_card_is_reported_and_no_reason_to_mistrust_the_alarm():
    worn = replace(WELL, problems={"storage": "the memory chip reports that it is nearly worn out"})
    assert worn.ill == []
    assert stats_of(worn)["well"]
    assert "worn out" in str(stats_of(worn)["problems"])
    assert replace(worn, problems={**worn.problems, "disk": "0 MB are free"}).ill == ["disk: 0 MB are free"]


def parse(text):
    """Another reading of the format: {name: (type, {frozen labels: value})}. Strict, as Prometheus is."""
    assert text.endswith("\n")
    found: dict[str, tuple[str, dict]] = {}
    helped: set[str] = set()
    for line in text.split("\n")[:-1]:
        if line.startswith("# HELP "):
            _, _, name, words = line.split(" ", 3)
            assert words
            assert name not in helped
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert kind in {"gauge", "counter"}
            assert name not in found
            found[name] = (kind, {})
        else:
            match = re.fullmatch(
                r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[^"]|"(?:\\.|[^"\\])*")*)\})? (\S+)', line, re.DOTALL
            )
            assert match, line
            name, pairs, value = match.groups()
            assert name in helped & set(found), f"{name} before its HELP and TYPE"
            read = re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:\\.|[^"\\])*)"(?:,|$)', pairs or "", re.DOTALL)
            assert ",".join(f'{one}="{two}"' for one, two in read) == (pairs or "")
            plain = {one: re.sub(r"\\(.)", lambda sign: {"n": "\n"}.get(sign[1], sign[1]), two) for one, two in read}
            key = frozenset(plain.items())
            assert key not in found[name][1], f"{line} twice"
            found[name][1][key] = float(value)
    assert helped == set(found)
    assert list(found) == list(dict.fromkeys(found)), "the samples of a metric stand together"
    return found


def value(found, name, **labels):
    return found[f"bear_alarm_{name}"][1][frozenset(labels.items())]


def test_every_figure_is_there_in_base_units():
    status = replace(
        WELL,
        problems={"sd card": "worn"},
        inference_age_s=3.0,
        fps_share=0.5,
        temperature_c=71.5,
        undervolted=True,
        disk_free_mb=1500.0,
        durable=False,
    )
    found = parse(metrics_text(status))
    assert value(found, "up") == 0
    assert value(found, "info", version="0.3.0", model="bear@12ab") == 1
    assert value(found, "uptime_seconds") == 60.5
    assert value(found, "camera_fresh", camera="yard") == 1
    assert value(found, "camera_frame_age_seconds", camera="yard") == 0.25
    assert value(found, "camera_alive_age_seconds", camera="yard") == 0.5
    assert value(found, "camera_frames_total", camera="yard") == 1200
    assert value(found, "camera_fps", camera="yard") == 5
    assert value(found, "camera_reopened_total", camera="yard") == 2
    assert value(found, "camera_trouble", camera="yard") == 0
    assert [value(found, f"sink_{what}_total", sink="sound siren") for what in ("failures", "dropped", "hung")] == [
        1,
        2,
        3,
    ]
    assert value(found, "channel_waiting", channel=BROKER.key) == 4
    assert value(found, "channel_parked", channel=BROKER.key) == 1
    assert value(found, "channel_trouble", channel=BROKER.key) == 1
    assert value(found, "problem", part="sd card") == 1
    assert value(found, "alarms_total") == 7
    assert value(found, "crop_seconds") == 0.0061
    assert value(found, "inference_age_seconds") == 3
    assert value(found, "fps_ratio") == 0.5
    assert value(found, "temperature_celsius") == 71.5
    assert (value(found, "undervolted"), value(found, "durable")) == (1, 0)
    assert value(found, "disk_free_bytes") == 1.5e9
    assert all((kind == "counter") == name.endswith("_total") for name, (kind, _) in found.items())


def test_what_is_not_known_is_left_out():
    found = parse(metrics_text(Status("0.3.0", "bear@12ab", 1.0)))
    assert sorted(found) == [
        f"bear_alarm_{name}" for name in ("alarms_total", "fps_ratio", "info", "up", "uptime_seconds")
    ]
    unseen = replace(YARD, fresh=False, frame_age_s=None)
    found = parse(metrics_text(replace(WELL, cameras=(YARD, replace(unseen, name="gate")))))
    assert list(found["bear_alarm_camera_frame_age_seconds"][1]) == [frozenset({("camera", "yard")})]
    assert value(found, "camera_fresh", camera="gate") == 0
    assert value(found, "up") == 0


def test_names_that_are_alike_stay_apart():
    """Prometheus refuses a page on which a series is twice."""
    sinks = tuple(replace(SIREN, name=name) for name in ("bell", "bell", "bell #2", "bell"))
    found = parse(metrics_text(replace(WELL, sinks=sinks)))
    names = [dict(key)["sink"] for key in found["bear_alarm_sink_hung_total"][1]]
    assert names == ["bell", "bell #2", "bell #2 #2", "bell #3"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4), st.floats())
def test_any_name_and_number_can_be_read_again(names, number):
    cameras = tuple(replace(YARD, name=name, fps=number) for name in names)
    found = parse(metrics_text(replace(WELL, cameras=cameras, model='a "b" \\ \n')))
    assert value(found, "info", version="0.3.0", model='a "b" \\ \n') == 1
    read = list(found["bear_alarm_camera_fps"][1].items()) if names else []
    assert len(read) == len(names)
    assert {name for key, _ in read for _, name in key} >= set(names)
    assert all(math.isnan(each) if math.isnan(number) else each == number for _, each in read)


def test_what_mqtt_gets_is_json_and_needs_no_sum():
    reported = stats_of(replace(WELL, channels=(BROKER, BROKER), problems={"hot": "82 °C"}, temperature_c=82.04))
    assert json.loads(json.dumps(reported)) == reported
    assert (reported["well"], reported["problems"], reported["temperature_c"]) == (False, {"hot": "82 °C"}, 82.0)
    assert (reported["waiting"], reported["parked"], reported["alarms"]) == (8, 2, 7)
    assert reported["cameras"] == {"yard": {"fresh": True, "fps": 5.0, "trouble": None, "stage": None}}
    assert reported["reason"] == "hot: 82 °C"
    assert (stats_of(WELL)["well"], stats_of(WELL)["reason"]) == (True, None)


@pytest.mark.parametrize("labels", ['{a="x"}', '{a="\\"}', "{a=x}", ""])
def test_the_parser_of_these_tests_is_no_friend(labels):
    with pytest.raises(AssertionError):
        parse(f"# HELP b x\n# TYPE b gauge\nb{labels} 1\nb{labels} 1\n")
