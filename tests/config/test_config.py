"""A config becomes settings: what is written, what is left out, what is written shorter, and where it is found."""

import inspect
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import edge.config
from edge.cli.watch.command import watch
from edge.config import find_config, load_config
from edge.config.schema import Config
from edge.config.schema import settings as known
from edge.errors import ConfigError, OptionError
from edge.settings import (
    AlertSettings,
    CameraSettings,
    EvidenceSettings,
    HealthSettings,
    Settings,
    Site,
    UpdateSettings,
)
from tests.helpers.config_text import made

CORNERS = ((0.1, 0.5), (0.6, 0.5), (0.6, 1.0))


def test_nothing_has_to_be_set():
    for text in (
        "",
        "# all of it\n",
        "~",
        "---\n",
        "{}",
        "cameras:\nsound:\n  play:\nmqtt: ''\nhealth: {}\n",
        "\ufeff",
    ):
        assert made(text) == Settings(waits=True)


def test_everything_may_be_set(tmp_path):
    (tmp_path / "bear.onnx").write_text("")
    found = made(
        """
        model: bear.onnx
        state: /var/lib/bears
        trace: trace.bin
        cameras:
          yard:
            source: rtsp://ranger:secret@10.0.0.20/main
            motion_source: rtsp://10.0.0.20/small
            fps: 5
            idle_fps: 0.5
            threshold: 0.8
            night_threshold: .9
            alarm_at: 2.4
            schedule: mon-fri 20:30-6
            motion: {mask: [0, 0.5, 1, 0.5, 1, 1]}
            zones: {hives: '0.1,0.5 0.6,0.5 0.6,1'}
          old: {source: 1, enabled: no}
          trail: {source: uploads, follow: on}
        command: {on_alarm: "echo $${BEAR_CAMERA}", on_trouble: logger}
        bell: off
        events: events.jsonl
        sound: {play: [siren, horn], seconds: 30, device: "plughw:1,0"}
        relay: [17, 4:30:low, {pin: 27, seconds: 60, active: low, blink: yes}]
        deterrent: {play: on, lamps: 22:60, hours: daily 21-6}
        mqtt: {host: broker, user: bees, password: 0123, tls: true, prefix: a/b, discovery: off, every_s: 5}
        webhook: {url: https://example.org/x, secret: s}
        notify: [ntfy://bees, json://localhost]
        record:
          {path: kept, quota_mb: 10, reserve_mb: 0, negatives_per_day: 0, full_frame: y, pre_capture_s: 8,
           post_capture_s: 20}
        health:
          {hot_c: 70, low_disk_mb: 1, slow_ms: 9, heartbeat: {url: https://hc.example.org/x, every_s: 60},
           listen: 9095, restart_after_s: 900, reboot: yes}
        """,
        tmp_path,
    )
    yard, trail = found.cameras
    assert (yard.name, yard.source, yard.motion_source) == (
        "yard", "rtsp://ranger:secret@10.0.0.20/main", "rtsp://10.0.0.20/small",
    )  # fmt: skip
    assert yard.settings.masks == (((0.0, 0.5), (1.0, 0.5), (1.0, 1.0)),)
    assert [(zone.name, zone.corners) for zone in yard.settings.zones] == [("hives", CORNERS)]
    assert yard.settings.schedule is not None
    assert yard.settings.schedule.words == "mon-fri 20:30-6"
    assert (yard.settings.fps, yard.settings.idle_fps, yard.settings.alarm_at) == (5.0, 0.5, 2.4)
    assert (yard.settings.threshold, yard.settings.night_threshold) == (0.8, 0.9)
    assert (trail.name, trail.source, trail.follow) == ("trail", str(tmp_path / "uploads"), True)
    alerts = found.alerts
    assert (alerts.sounds, alerts.sound_s, alerts.sound_device) == (("siren", "horn"), 30.0, "plughw:1,0")
    assert (alerts.relays, alerts.deterrent, alerts.deterrent_lamps) == (
        ("17", "4:30:low", "27:60:low:blink"), "on", ("22:60",),
    )  # fmt: skip
    assert alerts.deterrent_hours is not None
    assert (alerts.on_alarm, alerts.on_trouble, alerts.bell) == ("echo ${BEAR_CAMERA}", "logger", False)
    assert (alerts.events, alerts.webhook, alerts.webhook_secret) == (
        str(tmp_path / "events.jsonl"), "https://example.org/x", "s",
    )  # fmt: skip
    assert alerts.notify == ("ntfy://bees", "json://localhost")
    mqtt = alerts.mqtt
    assert mqtt is not None
    assert (mqtt.host, mqtt.port, mqtt.user, mqtt.password) == ("broker", 8883, "bees", "0123")
    assert (mqtt.prefix, mqtt.discovery, mqtt.every_s) == ("a/b", "", 5.0)
    assert found.evidence == EvidenceSettings(True, tmp_path / "kept", 10.0, 0.0, 0.0, True, 8.0, 20.0)
    assert found.health == HealthSettings(
        70.0, 1.0, 9.0, "https://hc.example.org/x", 60.0, "127.0.0.1:9095", 900.0, True
    )
    assert (found.model, found.state, found.trace) == (
        str(tmp_path / "bear.onnx"), Path("/var/lib/bears"), tmp_path / "trace.bin",
    )  # fmt: skip
    assert found.waits


def test_sources_of_new_models_may_be_set(tmp_path):
    text = """
    mqtt: mqtt://broker
    updates: {sources: [stick, 'https://example.org/bear.onnx', mqtt], every_h: 6, frames: 9, hours: 4, ask_h: 5,
      max_differences: 0}
    """
    sources = (str(tmp_path / "stick"), "https://example.org/bear.onnx", "mqtt")
    assert made(text, tmp_path).updates == UpdateSettings(sources, 6.0, 9, 4.0, 0, 5.0)
    assert made("updates: /media/stick").updates == UpdateSettings(("/media/stick",))


def test_a_site_may_be_set():
    text = "site: {name: Upper meadow, latitude: -45.5, longitude: 14, country: us-mt, timezone: Europe/Ljubljana}"
    assert made(text).site == Site("Upper meadow", -45.5, 14.0, "US-MT", "Europe/Ljubljana")
    assert made("site: {country: NO, timezone: '-03:30'}").site == Site(country="NO", timezone="-03:30")


def test_what_is_written_shorter_means_the_same():
    short = made(
        """
        cameras: {yard: 0, bins: {source: 1, stage: Shadow}}
        sound: [siren, horn]
        relay: 17:30
        deterrent: off
        command: logger
        mqtt: mqtts://bees:pa%2Fss@broker/hives?every=5&discovery=0
        webhook: https://example.org/x
        notify: ntfy://bees
        record: off
        health: {heartbeat: https://hc.example.org/x}
        """
    )
    long = made(
        """
        cameras: {yard: {source: 0}, bins: {source: 1, stage: shadow}}
        sound: {play: [siren, horn]}
        relay: [{pin: 17, seconds: 30}]
        command: {on_alarm: logger}
        mqtt: {host: broker, user: bees, password: pa/ss, tls: on, prefix: hives, every_s: 5, discovery: no}
        webhook: {url: https://example.org/x}
        notify: [ntfy://bees]
        record: {enabled: false}
        health: {heartbeat: {url: https://hc.example.org/x}}
        """
    )
    assert short == long
    assert (short.alerts.sounds, short.alerts.relays, short.evidence.keep) == (("siren", "horn"), ("17:30",), False)


@pytest.mark.parametrize(
    "corners",
    [
        "0.1,0.5 0.6,0.5 0.6,1",
        "'0.1,0.5, 0.6,0.5, 0.6,1'",
        "[[0.1, 0.5], [0.6, 0.5], [0.6, 1]]",
        "['0.1,0.5', '0.6,0.5', '0.6,1']",
        "[0.1, 0.5, 0.6, 0.5, 0.6, 1]",
        "\n          - 0.1,0.5\n          - [0.6, 0.5]\n          - 0.6,1",
    ],
)
def test_corners_are_words_or_pairs(corners):
    zoned, masked = made(
        f"cameras:\n  a:\n    source: 0\n    zones:\n      hives: {corners}\n"
        f"  b:\n    source: 1\n    motion:\n      mask: {corners}\n"
    ).cameras
    assert zoned.settings.zones[0].corners == CORNERS
    assert masked.settings.masks == (CORNERS,)


def test_there_may_be_several_masks():
    for masks in (
        "['0.1,0.5 0.6,0.5 0.6,1', '0,0 1,0 1,0.2']",
        "[[[0.1, 0.5], [0.6, 0.5], [0.6, 1]], '0,0 1,0 1,0.2']",
    ):
        (camera,) = made(f"cameras: {{a: {{source: 0, motion: {{mask: {masks}}}}}}}").cameras
        assert camera.settings.masks == (CORNERS, ((0.0, 0.0), (1.0, 0.0), (1.0, 0.2)))


def test_a_camera_has_what_detect_shows_unless_it_shows_otherwise():
    found = made(
        """
        detect: {fps: 4, idle_fps: 1, threshold: 0.7, night_threshold: 0.8, alarm_at: 2, schedule: daily 20-6}
        cameras: {yard: 0, bins: {source: 1, fps: 6, threshold: 0.9, schedule: daily 0-24}}
        """
    )
    yard, bins = (camera.settings for camera in found.cameras)
    assert (yard.fps, yard.idle_fps, yard.threshold, yard.night_threshold, yard.alarm_at) == (4.0, 1.0, 0.7, 0.8, 2.0)
    assert (bins.fps, bins.idle_fps, bins.threshold, bins.night_threshold, bins.alarm_at) == (6.0, 1.0, 0.9, 0.8, 2.0)
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC).astimezone().replace(hour=12)
    assert yard.schedule is not None
    assert bins.schedule is not None
    assert (yard.schedule.holds(noon), bins.schedule.holds(noon)) == (False, True)


def test_defaults_are_those_of_the_settings():
    assert made("cameras: {yard: 0}").cameras[0].settings == CameraSettings()
    assert made("sound: {}\ncommand: {}\nwebhook: {}").alerts == AlertSettings()


@pytest.mark.parametrize(
    ("source", "means"),
    [
        ("0", "0"), ("00", "00"), ("/dev/video2", "/dev/video2"), ("picamera://0?width=640", "picamera://0?width=640"),
        ("http://10.0.0.1/mjpeg", "http://10.0.0.1/mjpeg"), ("demo", "demo"), ("a/b.mp4", "/my [films]/a/b.mp4"),
        ("*.jpg", "/my [[]films]/*.jpg"), ("/a/b.mp4", "/a/b.mp4"), ("../b", "/my [films]/../b"),
    ],
)  # fmt: skip
def test_relative_paths_count_from_the_configs_folder(source, means):
    found = Config.model_validate({"cameras": {"a": source}}, context=Path("/my [films]"))
    assert found.cameras["a"].source == means


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cards").mkdir()
    found = made("state: ~/bears\nevents: ~/e.jsonl\ncameras: {a: ~/cards}")
    assert (found.state, found.alerts.events) == (tmp_path / "bears", str(tmp_path / "e.jsonl"))
    assert found.cameras[0].source == str(tmp_path / "cards")


def test_the_config_is_found_where_it_is_looked_for(monkeypatch, tmp_path, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BEAR_ALARM_CONFIG", raising=False)
    monkeypatch.setattr(edge.config, "SYSTEM", tmp_path / "etc" / "config.yml")
    assert find_config() is None
    (tmp_path / "bear-alarm.yaml").write_text("")
    assert find_config() is None
    assert "bear-alarm.yaml is not read" in caplog.text
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "config.yml").write_text("bell: no")
    assert find_config() == tmp_path / "etc" / "config.yml"
    (tmp_path / "bear-alarm.yml").write_text("")
    assert find_config() == Path("bear-alarm.yml")
    (tmp_path / "mine.yml").write_text("")
    monkeypatch.setenv("BEAR_ALARM_CONFIG", "mine.yml")
    assert find_config() == Path("mine.yml")
    assert find_config(tmp_path / "etc" / "config.yml") == tmp_path / "etc" / "config.yml"
    with pytest.raises(OptionError, match=r"other\.yml: no such config \(--config\); `bear-alarm config init other"):
        find_config(Path("other.yml"))
    monkeypatch.setenv("BEAR_ALARM_CONFIG", "gone.yml")
    with pytest.raises(OptionError, match=r"gone\.yml: no such config \(\$BEAR_ALARM_CONFIG\)"):
        find_config()
    assert load_config(tmp_path / "etc" / "config.yml").alerts.bell is False


@pytest.mark.skipif(os.name != "posix", reason="making a link takes rights elsewhere")
def test_a_link_that_leads_nowhere_is_not_passed_over(monkeypatch, tmp_path, caplog):
    """The drive it leads to is not mounted: another config, or none, would be somebody else's alarm."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BEAR_ALARM_CONFIG", raising=False)
    monkeypatch.setattr(edge.config, "SYSTEM", tmp_path / "config.yml")
    for name in ("config.yml", "bear-alarm.yml"):
        Path(name).symlink_to("/nowhere/drive.yml")
        found = find_config()
        assert found is not None
        assert found.name == name
        with pytest.raises(ConfigError, match="no such file"):
            load_config(found)
    assert not caplog.records


def test_the_services_config_is_left_aside_by_who_may_not_read_it(monkeypatch, tmp_path, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BEAR_ALARM_CONFIG", raising=False)
    monkeypatch.setattr(edge.config, "SYSTEM", tmp_path / "config.yml")
    (tmp_path / "config.yml").write_text("")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert find_config() is None
    assert "config.yml is not used: this user may not read it" in caplog.text


# Where an option of `watch` has another name than its setting.
OTHER_NAMES = {
    "evidence": "record.path", "evidence_full": "record.full_frame", "no_evidence": "record.enabled",
    "evidence_negatives": "record.negatives_per_day", "evidence_quota_mb": "record.quota_mb", "sound": "sound.play",
    "motion_from": "cameras.NAME.motion_source", "sound_seconds": "sound.seconds", "sound_device": "sound.device",
    "deterrent": "deterrent.play", "deterrent_lamp": "deterrent.lamps", "deterrent_hours": "deterrent.hours",
    "webhook": "webhook.url", "webhook_secret": "webhook.secret", "zone": "cameras.NAME.zones",
    "mask": "cameras.NAME.motion.mask", "source": "cameras.NAME.source", "follow": "cameras.NAME.follow",
    "schedule": "detect.schedule", "fps": "detect.fps", "idle_fps": "detect.idle_fps", "alarm_at": "detect.alarm_at",
    "threshold": "detect.threshold", "night_threshold": "detect.night_threshold", "on_alarm": "command.on_alarm",
    "on_trouble": "command.on_trouble", "text": "command.text",
}  # fmt: skip


def test_each_option_of_watch_has_its_setting():
    """docs/configuration.md explains why three have none."""
    for option in inspect.signature(watch).parameters:
        key = tuple(OTHER_NAMES.get(option, option).split("."))
        assert (key in known()) == (option not in {"config", "quiet", "verbose", "help_all"}), option


def test_bounds_are_those_of_the_options_of_watch():
    options = {
        "fps": "detect.fps", "idle_fps": "detect.idle_fps", "threshold": "detect.threshold",
        "night_threshold": "detect.night_threshold", "alarm_at": "detect.alarm_at", "sound_seconds": "sound.seconds",
        "evidence_negatives": "record.negatives_per_day",
    }  # fmt: skip
    hints = get_type_hints(watch, include_extras=True)
    for option, key in options.items():
        found, given = known()[tuple(key.split("."))], get_args(hints[option])[-1]
        assert (found["minimum"], found["maximum"]) == (given.min, given.max), option
