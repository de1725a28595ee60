"""A config that is wrong: every problem at once, with its line, what was meant, and what to do."""

import re

import pytest

from edge.config import load_config
from edge.errors import ConfigError
from tests.helpers.config_text import problems


def test_every_problem_is_shown_at_once_with_its_line(tmp_path):
    path = tmp_path / "bear-alarm.yml"
    path.write_text(
        "fps: 3\n"
        "cameras:\n"
        "  yard:\n"
        "    source: 0\n"
        "    fsp: 10\n"
        "    schedule: someday\n"
        "  bins:\n"
        "    idle_fps: 20\n"
        "    source: 1\n"
        "mqtt:\n"
        "  port: 70000\n"
        "notify:\n"
        "  - ntfy://bees\n"
        "  - ntfy://bees\n"
    )
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    assert [(each.line, each.column, each.key) for each in raised.value.problems] == [
        (1, 1, "fps"), (5, 5, "cameras.yard.fsp"), (6, 5, "cameras.yard.schedule"), (8, 5, "cameras.bins.idle_fps"),
        (10, 1, "mqtt.host"), (11, 3, "mqtt.port"), (14, 5, "notify[2]"),
    ]  # fmt: skip
    lines = str(raised.value).splitlines()
    assert len(lines) == 7
    assert lines[1] == f"{path}:5: cameras.yard.fsp: no such setting; did you mean fps?"
    assert isinstance(raised.value, ValueError)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("fps: 3", "1: fps: ", "it belongs under cameras.NAME or under detect"),
        ("cameras: {a: {source: 0, mqtt: x}}", "1: cameras.a.mqtt: ", "at the top, not indented"),
        ("cameras: {a: {source: 0, mask: x}}", "1: cameras.a.mask: ", "under cameras.NAME.motion"),
        ("cameras: {a: {source: 0, Idle-FPS: 1}}", "1: cameras.a.Idle-FPS: ", "did you mean idle_fps"),
        ("detect: {tresold: 1}", "1: detect.tresold: ", "did you mean threshold?"),
        ("stage: shadow", "1: stage: ", "it belongs under cameras.NAME; or did you mean stages?"),
        ("detect: {stage: shadow}", "1: detect.stage: ", "it belongs under cameras.NAME$"),
        ("cameras: {a: {source: 0, state: shadow}}", "1: cameras.a.state: ", "or did you mean stage?"),
        ("cameras:\n  a:\n    source: 0\n    stage:\n", "4: cameras.a.stage: ", "write shadow, supervised or auto"),
        ("cameras: {a: {source: 0, stage: shade}}", "1: cameras.a.stage: ", "'shade' is no stage; write shadow, "),
        ("cameras: {a: {source: 0, stage: [shadow]}}", "1: cameras.a.stage: ", "a list where a word is wanted"),
        ("stages: {unanswered: no}", "1: stages.unanswered: ", "'no' is none of sound, silence. What .* nobody"),
        ("stages: {precision: 80}", "1: stages.precision: ", "is not between 0.5 and 0.99; write 0.8 for 80 %$"),
        ("stages: {precision: 62.5 %}", "1: stages.precision: ", "is no number; .*; write 0.625 for 62.5 %$"),
        ("stages: {precision: 100}", "1: stages.precision: ", "is not between 0.5 and 0.99$"),
        ("updates: http://a.example/b.onnx", "1: updates: ", "write https://… that ends with .onnx or .pub, or a fol"),
        ("updates: 'https://a.example/b?token=x'", "1: updates: ", "this is no address of a model"),
        ("updates: {sources: [sticks, sticks]}", "1: updates.sources[2]: ", "the same source is there twice"),
        ("updates: {sources: [sticks, mqtt]}", "1: updates.sources[2]: ", "there is no broker; give mqtt too"),
        ("updates: {hours: 500}", "1: updates.hours: ", "a trial of 500 hours would not end before a person is asked"),
        ("updates: {ask_h: 8}", "1: updates.ask_h: ", "a trial of 168 hours would not end"),
        ("updates: x.mp4/models", "1: updates: ", "'x.mp4' is a file and no folder"),
        ("site: {latitude: 45}", "1: site.latitude: ", "a place needs both; give site.longitude too"),
        ("site: {latitude: 91, longitude: 0}", "1: site.latitude: ", "'91' is not between -90 and 90"),
        ("site: {country: Slovenia}", "1: site.country: ", "'Slovenia' is no country's code; write two letters such"),
        ("site: {timezone: CEST}", "1: site.timezone: ", "'CEST' is no time zone; write a name such as Europe/"),
        ("on_alarm: x", "1: on_alarm: ", "it belongs under command"),
        ("relay: [{pin: 1, second: 3}]", "1: relay[1].second: ", "did you mean seconds?"),
        ("a: 1", "1: a: ", "there are model, state, trace"),
        ("record: {xyzzy: 1}", "1: record.xyzzy: ", "there are enabled, path, quota_mb"),
        ("cameras: {source: rtsp://x}", "1: cameras.source: ", "a setting of a camera, not its name"),
        ("cameras: {a/b: 0}", "1: cameras.a/b: ", "no name for a camera"),
        ("cameras: {a: {source: 0, zones: {my hives: 0}}}", "1: cameras.a.zones.my hives: ", "no name for a zone"),
        ("cameras: [0, 1]", "1: cameras: ", "a list where settings are wanted; cameras takes lines of KEY: VALUE"),
        ("cameras: rtsp://ranger:hunter2@host/", "1: cameras: ", "a word where settings are wanted"),
        ("cameras:\n  a:\n", "2: cameras.a.source: ", "it is missing. Where its pictures come from"),
        ("cameras:\n  a:\n    fps: 3\n", "2: cameras.a.source: ", "it is missing"),
        ("cameras: {a: {source: [1]}}", "1: cameras.a.source: ", "a list where a word is wanted"),
        ("- 1\n- 2\n", "1: ", "settings are wanted, lines of KEY: VALUE"),
        ("just words", "1: ", "settings are wanted"),
        ("detect: {fps: ten}", "1: detect.fps: ", "'ten' is no number; give one between 0.25 and 60"),
        ("detect: {fps: 0.1}", "1: detect.fps: ", "'0.1' is not between 0.25 and 60"),
        ("detect: {fps: .inf}", "1: detect.fps: ", "'.inf' is no number"),
        ("detect: {fps: inf}", "1: detect.fps: ", "'inf' is no number"),
        ("detect: {fps: nan}", "1: detect.fps: ", "'nan' is no number"),
        ("detect: {fps: 1e999}", "1: detect.fps: ", "'1e999' is no number"),
        ("detect: {fps: [1]}", "1: detect.fps: ", "a list where a number is wanted"),
        ("mqtt: {host: h, port: 18.5}", "1: mqtt.port: ", "'18.5' is no whole number"),
        ("mqtt: {host: h, port: 99999999999999999999999}", "1: mqtt.port: ", "is no(t between 1| whole number)"),
        ("bell: maybe", "1: bell: ", "'maybe' is neither on nor off"),
        ("bell: {a: 1}", "1: bell: ", "where on or off is wanted"),
        ("relay: [{pin: 1, active: up}]", "1: relay[1].active: ", "'up' is none of high, low"),
        ("relay: [17, 99]", "1: relay[2]: ", "'99' is no pin"),
        ("relay: [17, 17:30]", "1: relay[2]: ", "pin 17 is already that of relay.1.; give each its own pin"),
        ("relay: 17\ndeterrent: {play: on, lamps: [17]}", "2: deterrent.lamps[1]: ", "already that of relay"),
        ("deterrent: {lamps: 17}", "1: deterrent.lamps: ", "belongs to a deterrent, and there is none"),
        ("deterrent: {hours: daily 1-2}", "1: deterrent.hours: ", "belongs to a deterrent, and there is none"),
        ("deterrent: nowhere", "1: deterrent: ", "'nowhere' is no folder; write on"),
        ("sound: sirn", "1: sound: ", "'sirn' is no known sound; write one of siren"),
        ("sound:\n  play:\n    - siren\n    - horm", "4: sound.play[2]: ", "'horm' is no known sound"),
        ("model: no.onnx", "1: model: ", "no such model file"),
        ("state: ~nobody-here/x", "1: state: ", "no such user's home folder"),
        ("detect: {schedule: fri 25-3}", "1: detect.schedule: ", "'25' is no time of day"),
        ("detect:\n  fps: 4\n  idle_fps: 5", "3: detect.idle_fps: ", "5 is more than fps 4"),
        ("detect: {idle_fps: 5}\ncameras: {a: {source: 0, fps: 2}}", "2: cameras.a.fps: ", "less than detect.idle_fps"),
        ("cameras: {a: {source: 0, motion: {mask: 0}}}", "1: cameras.a.motion.mask: ", "give three corners or more"),
        ("cameras: {a: {source: 0, motion: {mask: '0,0 1,0 1,1 0,1'}}}", "1: cameras.a.motion.mask: ", "whole picture"),
        ("cameras: {a: {source: 0, zones: {b: }}}", "1: cameras.a.zones.b: ", "nothing where corners are wanted"),
        ("cameras: {a: {source: 0, zones: {b: {coordinates: 1}}}}", "1: cameras.a.zones.b: ", "where corners are"),
        ("cameras: {a: {source: 0, zones: {b: '10,20 30,40 50,90'}}}", "1: cameras.a.zones.b: ", "look like percent"),
        (
            "cameras: {a: {source: 0, zones: {b: '0,0 0.1,0 0.1,0.1'}, motion: {mask: '0,0 0.5,0 0.5,0.5 0,0.5'}}}",
            "1: cameras.a.zones: ", "cover all of the zones",
        ),
        ("cameras: {a: {source: 0, follow: yes}}", "1: cameras.a.follow: ", "the source is no folder"),
        ("cameras: {a: {source: x.mp4, motion_source: 1}}", "1: cameras.a.motion_source: ", "no live stream"),
        ("cameras: {a: {source: up, follow: y, motion_source: 1}}", "1: cameras.a.motion_source: ", "keep one of them"),
        ("cameras: {a: {source: 0, enabled: no}}", "1: cameras: ", "every camera is off"),
        ("mqtt: http://broker", "1: mqtt: ", "does not begin with mqtt://"),
        ("mqtt: {host: b, prefix: a/+}", "1: mqtt.prefix: ", "cannot begin a topic"),
        ("mqtt: {host: b, ca: x.pem}", "1: mqtt.ca: ", "write tls: yes too"),
        ("mqtt: {host: b, ca: x.mp4, tls: on}", "1: mqtt.ca: ", "cannot be used"),
        ("mqtt: {host: b c}", "1: mqtt.host: ", "the host is no name and no address"),
        ("mqtt: {host: 'mqtt://bees:hunter2@10.0.0.7'}", "1: mqtt.host: ", "for a whole URL write mqtt: URL"),
        ("webhook: example.org", "1: webhook: ", "the setting's address .* begins with https:// or http://"),
        ("cameras: {a: 'picamera://0?rotation=90'}", "1: cameras.a", "rotation is 0 or 180"),
        ("cameras: {a: 'picamera://x'}", "1: cameras.a", "the camera's number is missing"),
        ("cameras: {a: '*.nothing'}", "1: cameras.a", "no file matches this pattern"),
        ("health: {heartbeat: 'https://a b'}", "1: health.heartbeat", "space"),
        ("health: {heartbeat: 'https://x:port/'}", "1: health.heartbeat", "a port is a number"),
        ("webhook: {secret: hunter2}", "1: webhook.secret: ", "give webhook.url too"),
        ("webhook: {url: 'https://h/x', secret: ' '}", "1: webhook.secret: ", "it is empty"),
        ("notify: nowhere", "1: notify: ", "Apprise cannot use this URL"),
        ("health: {heartbeat: hc.example.org}", "1: health.heartbeat: ", "it begins with https:// or http://"),
        ("health: {listen: everywhere:1}", "1: health.listen: ", "no address of a network"),
        ("health: {restart_after_s: 1}", "1: health.restart_after_s: ", "is not between 60 and 86400"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_sentence(text, line, words, tmp_path):
    (tmp_path / "x.mp4").write_text("")
    found = problems(text, tmp_path)
    assert len(found) == 1, found
    assert found[0].startswith(line), found
    assert re.search(words, found[0]), found
    assert "hunter2" not in found[0]


def test_one_model_and_new_models_contradict_each_other(tmp_path):
    (tmp_path / "bear.onnx").write_text("")
    (found,) = problems("model: bear.onnx\nupdates: [sticks]", tmp_path)
    assert found.startswith("2: updates: "), found
    assert "model names the one file" in found


def test_paths_that_can_never_be_are_found(tmp_path):
    (tmp_path / "file").write_text("no sound")
    (tmp_path / "folder").mkdir()
    text = "state: file/sub\nrecord: {path: file}\ntrace: folder\nevents: folder\nmodel: folder"
    assert len(problems(text, tmp_path)) == 5
    assert "is no WAV file" in problems("sound: file", tmp_path)[0]
    assert "is no folder" in problems("deterrent: ./file", tmp_path)[0]
    assert problems(f"state: {'x' * 4000}", tmp_path)[0].startswith("1: state: it cannot be looked at")


def test_a_sentence_is_not_as_long_as_what_is_wrong(tmp_path):
    for text in (f"detect: {{schedule: {'x' * 9000}}}", f"detect: {{fps: {'x' * 9000}}}", f"{'x' * 900}: 1"):
        assert max(map(len, problems(text))) < 600


def test_what_follows_from_a_mistake_is_no_further_mistake():
    assert len(problems("deterrent: {play: nowhere, lamps: 17}")) == 1
    assert len(problems("webhook: {url: x, secret: y}")) == 1
    assert len(problems("mqtt: {hots: broker, tls: maybe}")) == 3


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    for path, words in ((tmp_path, "a folder, not a file; .*"), (tmp_path / "no.yml", "no such file; .*")):
        with pytest.raises(ConfigError, match=f"^{re.escape(str(path))}: {words}$"):
            load_config(path)
