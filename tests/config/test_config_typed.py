"""A config as it is typed on a phone, copied from a web page, or written by who never heard of YAML."""

import pytest

from tests.helpers.config_text import problems


@pytest.mark.parametrize(
    ("text", "begins", "words"),
    [
        # Signs that only look right.
        ("sound: “siren”\n", "1: sound: ", "U+201C only looks like"),
        ("cameras:\n  yard: ‘rtsp://u:hunter2@h/x’\n", "2: cameras.yard: ", "U+2018 only looks like"),
        ("mqtt:\n  host: h\n  password: „hunter2“\n", "3: mqtt.password: ", "U+201E only looks like"),
        ("cameras:\n\u00a0\u00a0yard: 0\n", "2: yard: ", "U+00A0 only looks like"),
        ("\u200bcameras:\n  yard: 0\n", "1: cameras: ", "U+200B only looks like"),
        ("bell: no\n\ufeffsound: siren\n", "2: sound: ", "U+FEFF only looks like"),
        ("cameras:\n  yard:\n    source:\u00a0rtsp://h/x\n    fps: 5\n", "3: ", "a plain space behind the colon"),
        # A colon, a dash, and the space behind them: the line where it is missing, not the one after it.
        ("cameras\n  yard: 0\n", "1: ", "a colon is missing"),
        ("cameras:\n  yard\n    source: 0\n", "2: ", "a colon is missing"),
        ("cameras:\n  yard:\n    source:rtsp://u:hunter2@h/x\n    fps: 5\n", "3: ", "a colon is missing"),
        ("cameras:\n  yard:\n    source 0\n    fps: 5\n", "3: ", "a colon is missing"),
        ("bell: no\nsound siren\n", "2: ", "a colon is missing"),
        ("cameras:\n  yard:0\n", "1: cameras: ", "a space is missing behind the colon"),
        ("cameras:\n  yard:\n    source:0\n", "2: cameras.yard: ", "no such file or folder; a camera is 0"),
        ("notify:\n  - ntfy://x\n  -ntfy://hunter2\n", "3: ", "a plain space behind the colon or the -"),
        ("cameras:\n  yard:\n    source: 0\n      fps: 3\n", "4: ", "check the indentation"),
        ("cameras:\nyard:\n  source: 0\n", "2: yard: ", "if it is a camera, indent it"),
        ("cameras:\n  - source: 0\n", "1: cameras: ", "indented and without -"),
        # Passwords with signs of YAML's.
        ("mqtt:\n  host: h\n  password: &hunter2\n", "3: ", "in quotes"),
        ("mqtt:\n  host: h\n  password: !hunter2\n", "3: ", "put text in quotes"),
        ("mqtt:\n  host: h\n  password: |hunter2\n", "3: ", "in quotes"),
        ("mqtt:\n  host: h\n  password: 'hunter2'3\n", "3: ", "the whole of a text in quotes"),
        # Numbers.
        ("detect:\n  threshold: 150 %\n", "2: detect.threshold: ", "give one between 0.001 and 0.999"),
        ("record:\n  quota_mb: 2'000\n", "2: record.quota_mb: ", "is no number; give one between"),
        ("mqtt:\n  host: h\n  port: 0x10\n", "3: mqtt.port: ", "give one between 1 and 65535"),
        ("sound:\n  play: siren\n  seconds: 2 Stunden\n", "3: sound.seconds: ", "give one between 0.5 and 300"),
        # One value that stands for a list of it has its own line.
        ("relay:\n  pin: 17\n  seconds: 30s\n", "3: relay.seconds: ", "'30s' is no number"),
        ("deterrent:\n  play: on\n  lamps:\n    pn: 3\n    pin: 4\n", "4: deterrent.lamps.pn: ", "did you mean pin?"),
        ("notify: ntfy://a, ntfy://b\n", "1: notify: ", "two addresses in one text"),
    ],
)
def test_a_typing_mistake_is_shown_at_its_place(text, begins, words):
    found = problems(text)
    assert len(found) == 1, found
    assert found[0].startswith(begins), found
    assert words in found[0], found
    assert "hunter2" not in found[0]


def test_such_signs_are_accepted_in_quotes():
    assert problems("events: 'a\u00a0“b”'\nstate: \"‘x’\"\n") == []


def test_one_sign_does_not_hide_the_other_mistakes():
    found = problems("sound: “siren”\nbel: no\ndetect:\n  fps: 5\u00a0\n  threshold: 2\n")
    assert [each.split(": ")[:2] for each in found] == [
        ["1", "sound"], ["2", "bel"], ["4", "detect.fps"], ["5", "detect.threshold"],
    ]  # fmt: skip
