"""What other programs rely on, as version 0.1.0 had it: more may come, and nothing of it goes or is renamed."""

from __future__ import annotations

import json
import re
from pathlib import Path

from edge.alert.mqtt_discovery import Announcer, Topics
from edge.cli.main import INTERRUPTED, NOBODY_READS, NOT_WRITTEN
from edge.device.telemetry import metrics_text, stats_of
from edge.device.watchdog import REBOOT, RESTART
from edge.status import CameraStatus, ChannelStatus, SinkStatus, Status
from tests.helpers.command import bear_alarm

EVENT = {
    "kind", "type", "id", "seq", "boot_id", "camera", "captured_at", "clock_synced", "track", "label", "score",
    "top_score", "box_xywh", "media_time_s", "latency_ms", "onset_s", "durable", "model", "evidence", "detail",
    "zones", "escalated", "file", "quiet", "schema_version",
}  # fmt: skip
KINDS = {"kind": {"bear", "camera", "health", "test"}, "type": {"new", "update", "end"}}
TOPICS = {
    "bear-alarm/available", "bear-alarm/events", "bear-alarm/stats", "bear-alarm/test_picture",
    "bear-alarm/yard/attributes", "bear-alarm/yard/available", "bear-alarm/yard/bear", "bear-alarm/yard/last_alarm",
    "bear-alarm/yard/snapshot",
}  # fmt: skip
DISCOVERY = {
    "binary_sensor/bear_alarm_0/connection", "binary_sensor/bear_alarm_0/yard_bear",
    "binary_sensor/bear_alarm_0/yard_problem", "image/bear_alarm_0/yard_snapshot",
    "sensor/bear_alarm_0/yard_lastalarm", "sensor/bear_alarm_0/yard_score",
}  # fmt: skip
STATS = {
    "well", "problems", "version", "model", "uptime_s", "alarms", "crop_ms", "fps_share", "temperature_c",
    "undervolted", "disk_free_mb", "durable", "cameras", "waiting", "parked",
}  # fmt: skip
METRICS = {
    "up", "info", "uptime_seconds", "alarms_total", "problem", "crop_seconds", "inference_age_seconds", "fps_ratio",
    "temperature_celsius", "undervolted", "disk_free_bytes", "durable", "camera_fresh", "camera_live",
    "camera_frame_age_seconds", "camera_alive_age_seconds", "camera_frames_total", "camera_fps",
    "camera_reopened_total", "camera_trouble", "sink_failures_total", "sink_dropped_total", "sink_hung_total",
    "sink_trouble", "channel_waiting", "channel_parked", "channel_trouble",
}  # fmt: skip
STATUS = Status(
    "0.1.0", "bear", 60.5, (CameraStatus("yard", True, True, 0.25, 0.5, 1200, 5.0, None, 2),),
    (SinkStatus("sound siren", 1, 2, 3, None),), (ChannelStatus("mqtt 10.0.0.7:1883", 4, 1, None),),
    problems={"disk": "full"}, crop_ms=6.1, inference_age_s=3.0, temperature_c=50.0, undervolted=False,
    disk_free_mb=900.0, durable=True,
)  # fmt: skip


def test_the_keys_of_an_event() -> None:
    schema = json.loads(bear_alarm("schema", "event").stdout)
    assert set(schema["properties"]) >= EVENT
    for key, values in KINDS.items():
        assert values <= set(schema["properties"][key]["enum"])


def test_the_topics_of_a_camera() -> None:
    topics = Topics("bear-alarm")
    of_camera = (topics.camera_available, topics.bear, topics.attributes, topics.last_alarm, topics.snapshot)
    of_all = (topics.available, topics.events, topics.stats, topics.test_picture)
    assert {*of_all, *(topic("yard") for topic in of_camera)} == TOPICS
    found = {topic for topic, _ in Announcer("homeassistant", topics, "0", 90)(["yard"])}
    assert {f"homeassistant/{entity}/config" for entity in DISCOVERY} <= found
    assert set(stats_of(STATUS)) >= STATS


def test_the_names_of_metrics() -> None:
    found = re.findall(r"^# TYPE bear_alarm_(\S+) ", metrics_text(STATUS), re.MULTILINE)
    assert set(found) >= METRICS


def test_exit_codes(tmp_path: Path) -> None:
    assert bear_alarm("--version").returncode == 0
    assert bear_alarm("classify", tmp_path / "nothing").returncode == 2
    assert (NOT_WRITTEN, RESTART, REBOOT, INTERRUPTED, NOBODY_READS) == (2, 75, 86, 130, 141)
