"""docs/settings.md is what the schema says, whose examples all work; so does the example of docs/configuration.md."""

import re
import shutil

import pytest

from edge.alert.sound import SOUNDS
from edge.config.load import load_text
from edge.config.schema import NAME, settings
from edge.errors import ConfigError
from tests.cli.test_command import ROOT
from tests.helpers.make_settings_page import PAGE, page, word

GUIDE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.*?) \| (.*?) \| `(.+)` \|$", page(), re.MULTILINE)
each_row = pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
EXAMPLES = [(".".join(key), word(each)) for key, found in settings().items() for each in found.get("examples", ())]
# What a setting needs beside it to make sense.
BESIDE = {
    "cameras": {"yard": {"source": "rtsp://10.0.0.20/main"}, "other": {"source": "1"}},
    "deterrent": {"play": "on", "lamps": {"pin": "3"}},
    "relay": {"pin": "3"},
    "mqtt": {"host": "broker", "tls": "yes"},
    "webhook": {"url": "https://example.org/bears"},
    "sound": {"play": "siren"},
    "site": {"latitude": "1", "longitude": "1"},
    "health": {"heartbeat": {"url": "https://hc.example.org/ping"}},
}


def within(tree, key, value):
    """A tree with a value put in at a key."""
    first, *rest = key
    inner = tree.get(first)
    return tree | {first: within(inner if isinstance(inner, dict) else {}, rest, value) if rest else value}


def lacking(tree, key):
    """A tree without what stands at a key."""
    first, *rest = key
    left = {name: value for name, value in tree.items() if name != first}
    return left | {first: lacking(tree[first], rest)} if rest and first in tree else left


def block(tree, indent=""):
    """A tree as YAML, its values as they are."""
    lines = ""
    for key, value in tree.items():
        lines += f"{indent}{key}:" + (f"\n{block(value, indent + '  ')}" if isinstance(value, dict) else f" {value}\n")
    return lines


def test_the_page_is_what_the_schema_shows():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python tests/helpers/make_settings_page.py"


def test_the_page_describes_every_setting_and_no_other():
    assert sorted(row[0] for row in ROWS) == sorted(".".join(key) for key in settings())
    assert len(re.findall(r"^\| `", page(), re.MULTILINE)) == len(ROWS)


def test_every_setting_has_an_example_in_the_schema():
    assert {key for key, _ in EXAMPLES} == {".".join(key) for key in settings()}


@each_row
def test_bounds_and_defaults_are_those_of_the_schema(row):
    key, _, default, values, _ = row
    found = settings()[tuple(key.split("."))]
    if "minimum" in found and found["maximum"] < 1e7:
        assert f"{found['minimum']:g} to {found['maximum']:g}" in values
    usual = found.get("default")
    if isinstance(usual, bool):
        assert default == ("yes" if usual else "no")
    elif isinstance(usual, float | str):
        assert default == (f"{usual:g}" if isinstance(usual, float) else usual)


@pytest.mark.parametrize(("key", "example"), EXAMPLES, ids=[key for key, _ in EXAMPLES])
def test_the_example_of_each_setting_works_and_changes_something(key, example, tmp_path, monkeypatch):
    if key == "mqtt.ca":  # a file of certificates is the system's matter
        return
    for name in re.findall(r"\$\{(\w+)\}", example):
        monkeypatch.setenv(name, "ntfy://a-b" if name == "TELEGRAM" else "a-b")
    (tmp_path / "bear.onnx").write_text("")
    (tmp_path / "sounds").mkdir()
    for name in ("bark.wav", "sounds/a.wav"):
        shutil.copy(SOUNDS / "siren.wav", tmp_path / name)
    parts = ["yard" if part == NAME else part for part in key.split(".")]
    tree = {"cameras": BESIDE["cameras"], parts[0]: BESIDE.get(parts[0], {})}
    without = settings_or_none(block(lacking(tree, parts)), tmp_path)
    if parts[-1] == "follow":
        tree = within(tree, ["cameras", "yard", "source"], "uploads")
    found = settings_or_none(block(within(tree, parts, example)), tmp_path)
    assert found is not None
    assert found != without, "it changes nothing"


def settings_or_none(text, folder):
    """The settings that a config means; None where it is wrong, such as without a broker's host."""
    try:
        return load_text(text, folder / "bear-alarm.yml").settings
    except ConfigError:
        return None


def test_the_small_example_passes(tmp_path):
    (tmp_path / "secrets.yml").write_text("CAMERA_PASSWORD: a-b\n")
    (example,) = re.findall(r"```yaml\n(.+?)```", GUIDE, re.DOTALL)
    found = load_text(example, tmp_path / "bear-alarm.yml").settings
    assert [camera.name for camera in found.cameras] == ["yard", "bins"]
