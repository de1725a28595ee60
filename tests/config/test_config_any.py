"""Whatever a config holds, it becomes settings or a ConfigError with a sentence: never anything else."""

import re
from pathlib import Path

import pytest

from edge.config.load import load_text
from edge.config.schema import NAME, settings
from edge.config.template import quoted, template
from edge.config.yaml_tree import parse
from edge.errors import ConfigError
from edge.settings import Settings
from tests.helpers.config_text import uncommented

pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import example, given
from hypothesis import strategies as st

HERE = Path("/nowhere/bear-alarm.yml")
# An Apprise URL of any kind may look into files and networks of this machine; a few known ones are enough here.
KEYS = sorted({part for key in settings() for part in key} - {NAME, "notify"})
WORDS = [
    "0", "-1", "1e9", "nan", "10 fps", "80%", "on", "off", "yes", "~", "", "siren", "17:30:low", "99", "x" * 300,
    "0.1,0.5 0.6,0.5 0.6,1", "0,0 1,0 1,1 0,1", "rtsp://u:p@h/", "mqtt://u:p@h/x", "https://h/x", "*.jpg",
    "daily 20-6", "/dev/video0",
    "${NOPE}", "${", "$${X}", "~nobody-here", "a b", "é", "\u2028", "[", "a: b",
    "127.0.0.1:1", "high", "demo",
    "\U0001f43b",
]  # fmt: skip
words = st.one_of(st.sampled_from(WORDS), st.text(max_size=12))
trees = st.recursive(
    words,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.sampled_from(KEYS), words), inner, max_size=4)
    ),
    max_leaves=25,
)
configs = st.dictionaries(st.one_of(st.sampled_from(KEYS), words), trees, max_size=6)
LINES = [
    "cameras:", "  yard:", "    source: 0", "\tfps: 1",
    "  - 1", "a: &a", "<<: *a", "b: *a", "? x", ": y", "'", '"', "{", "]",
    "|", ">-",
    "!!x 1", "---", "...", "%YAML 1.1", "# c", "\\", "${X}", "detect: {fps: 3}", "\u00a0", "@", "\x85", "\ufeff",
]  # fmt: skip
texts = st.one_of(
    st.text(max_size=200),
    st.lists(st.one_of(st.sampled_from(LINES), st.text(max_size=8)), max_size=12).map("\n".join),
    st.lists(st.sampled_from(LINES), max_size=12).map(" ".join),
)


def written(tree, level=0):
    """A tree as YAML, its text in quotes where it has to be."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{escaped(key)}: {written(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(written, tree)) + "]"
    return escaped(tree)


def escaped(text):
    return '"' + "".join(sign if sign.isalnum() and sign.isascii() else f"\\U{ord(sign):08x}" for sign in text) + '"'


def loads_or_says(text):
    try:
        found = load_text(text, HERE).settings
    except ConfigError as error:
        problems = error.problems
    else:
        assert isinstance(found, Settings)
        return found
    assert problems
    for each in problems:
        assert each.sentence
        assert len(each.sentence) < 900
        assert not re.search("[A-Z][a-z]+Error", each.sentence)
        assert 0 <= each.line <= text.count("\n") + 1 + sum(map(text.count, "\x85\u2028\u2029\r"))
    return None


@given(texts)
@example('"\\x85"')
@example("a: 'b\n---\n'")
@example("!<")
@example("%TAG ! x\n---\na: !b c")
@example("? - a\n: - b")
@example("- - - - a\n- : : :")
def test_any_text_is_settings_or_sentences(text):
    loads_or_says(text)


@given(configs)
@example({"cameras": {"a": {"source": "0", "zones": {"z": ["0.1", {"x": "1"}]}}}})
@example({"relay": [["17"], {"pin": []}], "deterrent": {"lamps": {"pin": "1"}}, "mqtt": [], "webhook": ["x"]})
@example({"cameras": {"": "0", "a": "", "b": [], "c": {"source": {}}}})
@example({"health": {"heartbeat": [], "listen": {}}, "record": [], "sound": [[], {}], "command": ["a"]})
def test_any_structure_is_settings_or_sentences(tree):
    loads_or_says(written(tree))


@given(st.sampled_from(sorted(settings())), words, st.sampled_from(["camera", "z"]))
def test_any_word_for_any_setting_is_settings_or_sentences(key, word, name):
    if key == ("notify",) and "://" in word:
        return
    value = escaped(word)
    for part in reversed(key):
        value = f"{{{name if part == NAME else part}: {value}}}"
    loads_or_says(value)


@given(configs)
def test_what_is_written_is_what_is_read(tree):
    def left(value):
        if isinstance(value, dict):
            return {key: left(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [inner for inner in map(left, value) if inner is not None]
        return value or None

    found = parse(written(tree))
    if not found.problems:
        assert found.data == left(tree)


@given(
    st.text(
        st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff\u2028\u2029"),
        min_size=1,
        max_size=30,
    )
)
@example("null")
@example("a: 'b' #c")
@example("~")
def test_the_template_takes_any_answer_as_it_is(word):
    assert parse(f"a: {quoted(word)}").data == {"a": word}


@given(st.sampled_from(["0", "rtsp://u:p'\"x@h/{a}", "demo", "/dev"]), st.sampled_from([None, "siren", "horn"]))
def test_the_template_passes_with_any_answer(source, sound):
    found = loads_or_says(template(camera="yard", source=source, sound=sound))
    assert found is not None
    assert len(found.cameras) == 1
    assert found.alerts.sounds == ((sound,) if sound else ())
    text = template()
    assert uncommented(uncommented(text)) == uncommented(text)
