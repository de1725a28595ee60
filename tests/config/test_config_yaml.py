"""YAML as people write it, and as it goes wrong: every value is text, every fault has its line and a sentence."""

import cProfile
import os
import re
import time

import pytest

from edge.config import load_config
from edge.config.load import MAX_PROBLEMS
from edge.config.yaml_tree import MAX_DEPTH, MAX_VALUES, parse
from edge.errors import ConfigError
from edge.settings import Settings
from tests.helpers.config_text import made, problems


def test_no_value_is_guessed_at():
    text = """
        no: no
        time: 20:30
        octal: 0755
        date: 2026-05-01
        number: 1_000.50
        quoted: "null"
        hex: 0x10
        on: [on, 'off', "y"]
        text: |
          two
          lines
    """
    assert parse(text).data == {
        "no": "no", "time": "20:30", "octal": "0755", "date": "2026-05-01", "number": "1_000.50", "quoted": "null",
        "hex": "0x10", "on": ["on", "off", "y"], "text": "two\nlines\n",
    }  # fmt: skip


@pytest.mark.parametrize("word", ["yes", "Yes", "on", "ON", "true", "True", "1"])
def test_a_switch_takes_all_the_usual_words(word):
    assert made(f"record: {{full_frame: {word}}}").evidence.full is True
    assert made(f"record: {{full_frame: '{word}'}}").evidence.full is True


@pytest.mark.parametrize("word", ["no", "No", "off", "OFF", "false", "False", "0"])
def test_and_the_others(word):
    assert made(f"bell: {word}").alerts.bell is False


def test_what_is_empty_is_left_out():
    for empty in ("", "~", "null", "''", '""', "Null", "NULL"):
        assert made(f"state: {empty}\nnotify: [{empty}]\ndetect: {{fps: {empty}}}\nmqtt: {empty}") == Settings(
            waits=True
        )
    assert made("notify:\n  -\n  - ntfy://bees\n  -\n").alerts.notify == ("ntfy://bees",)


def test_aliases_and_merge_keys_are_taken():
    found = made(
        """
        cameras:
          a: &usual {source: 0, fps: 5, zones: &where {hives: '0,0 1,0 1,1'}}
          b: {<<: *usual, source: 1}
          c: {<<: [{fps: 2}, *usual], source: 2, zones: *where}
        """
    )
    assert [(each.source, each.settings.fps) for each in found.cameras] == [("0", 5.0), ("1", 5.0), ("2", 2.0)]
    assert len({each.settings.zones for each in found.cameras}) == 1
    assert parse("a: &x 1\nb: &x 2\nc: *x\n").data == {"a": "1", "b": "2", "c": "2"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("bell: no\nbell: yes\n", "2: bell: ", "it is set twice, first in line 1; keep one"),
        ("cameras:\n  yard: 0\n  bins: 1\n  yard: 2\n", "4: cameras.yard: ", "set twice, first in line 2"),
        ("cameras:\n\tyard: 0\n", "2: ", "a tab; YAML wants spaces"),
        ("cameras:\n  yard:\n\t  source: 0\n", "3: ", "a tab; YAML wants spaces"),
        ("bell: no\n\tevents: x\n", "2: ", "a tab; YAML wants spaces"),
        ("bell: no\nmqtt: a: b\n", "2: ", "a colon where none is allowed"),
        ("bell: no\nevents x\nstate: y\n", "2: ", "a colon is missing"),
        ("cameras:\n    yard: 0\n  bins: 1\n", "3: ", "indentation"),
        ("a: 'open\nb: 1\n", "1: ", "a quote begins here that never ends"),
        ("notify: [ntfy://bees\nbell: no\n", "1: ", "begins here that is not closed"),
        ("mqtt: {host: b\n", "1: ", "begins here that is not closed"),
        ("events: @x\n", "1: ", "begins with one of @"),
        ("events: *x\n", "1: ", "begins with one of .* in quotes"),
        ('events: "C:\\bears"\n', "1: ", "a . in double quotes begins an escape"),
        ('events: "C:\\Bears"\n', "1: ", "a . in double quotes begins an escape"),
        ('events: "\\UFFFFFFFF"\n', "1: ", "begins an escape, and this is none"),
        ('events: "\\0"\n', "1: ", "begins an escape, and this is none"),
        ('events: "\\ud800"\n', "1: ", "begins an escape, and this is none"),
        ("mqtt:\n  password: !secret mqtt\n", "2: ", r"write \$\{NAME\}, and NAME in secrets.yml"),
        ("bell: !!bool yes\n", "1: ", "ask for a kind of value"),
        ("bell: !!python/object/apply:os.system [ls]\n", "1: ", "ask for a kind of value"),
        ("bell: no\n---\nbell: yes\n", "2: ", "a second document begins here"),
        ("? [a]\n: b\n", "1: ", "a key is one word"),
        ("cameras: &a\n  b: *a\n", "2: ", "contains the alias"),
        ("<<: 3\n", "1: ", "a merge key"),
        ("a: " + "[" * 50, "1: ", f"more than {MAX_DEPTH} levels deep"),
        ("a: " + "{b: " * 50, "1: ", f"more than {MAX_DEPTH} levels deep"),
        ("a: " + "[" * 300_000, "1: ", f"more than {MAX_DEPTH} levels deep"),
    ],
)  # fmt: skip
def test_what_is_no_yaml_is_one_sentence_with_its_line(text, line, words):
    found = problems(text)
    assert len(found) == 1, found
    assert re.match(line, found[0]), found
    assert re.search(words, found[0]), found


def test_aliases_cannot_grow_without_bounds():
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    merges = "a0: &a0 {x: 1}\n" + "".join(
        f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12)
    )
    keys = ", ".join(f"k{n}: 1" for n in range(9000))
    wide = f"a: &a {{{keys}}}\nb: {{<<: [{', '.join(['*a'] * 9000)}]}}\n"
    began = time.perf_counter()
    assert "merge keys" in problems(wide)[0]
    assert f"more than {MAX_VALUES} values" in problems(laughs)[0]
    assert "merge keys" in problems(merges)[0]
    assert time.perf_counter() - began < 20.0


@pytest.mark.parametrize(
    "text",
    [
        "detect: {fps: '" + "a" * 900_000 + "'}\n",
        "bell: '" + "a://" * 200_000 + "'\n",
        "".join(f"key{number}: 1\n" for number in range(MAX_VALUES - 100)),
        "detect:\n" + "".join(f"  k{number}: 1\n" for number in range(MAX_VALUES - 100)),
        "{" + "x," * 400_000 + "}",
        "bell: 1\n" * 100_000,
        "events: '" + "${" * 400_000 + "'\n",
        "notify:\n" + "".join(f"  - json://h{number}\n" for number in range(MAX_VALUES - 100)),
    ],
    ids=["number", "switch", "keys", "deeper keys", "flow", "twice", "names", "addresses"],
)
def test_no_text_holds_up_the_alarm_that_reads_it_again(text):
    """Most of these took minutes, in which no thread of a running alarm gets much done."""
    began = time.process_time()
    found = problems(text)
    assert 1 <= len(found) <= MAX_PROBLEMS + 1
    assert time.process_time() - began < 15.0


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("", "key{}: 1\n"),
        ("cameras:\n", "  camera{}: nowhere\n"),
        ("cameras:\n", "  camera{}: ${{MISSING}}\n"),
        ("cameras:\n", "  camera{}: ${{GIVEN}}\n"),
        ("sound:\n  play:\n", "  - ${{GIVEN}}\n"),
    ],
)
def test_four_times_the_mistakes_take_four_times_the_calls(monkeypatch, section, line):
    """Each mistake was compared with all the others, so the calls grew with the square of their number."""
    monkeypatch.setenv("GIVEN", "missing.wav")

    def calls(lines: int) -> int:
        text = section + "".join(line.format(number) for number in range(lines))
        with cProfile.Profile() as profile:
            assert len(problems(text)) == MAX_PROBLEMS + 1
        return sum(each.callcount for each in profile.getstats())

    calls(200)  # what is done once is done
    assert calls(1600) < 4.5 * calls(400)


def test_of_very_many_mistakes_the_first_are_shown():
    found = problems("".join(f"key{number}: 1\n" for number in range(300)))
    assert [each.partition(":")[0] for each in found[:-1]] == [str(line) for line in range(1, MAX_PROBLEMS + 1)]
    assert found[-1] == "and more mistakes than these; correct these first"


def put(path, data):
    path.write_bytes(data)
    try:
        load_config(path)
    except ConfigError as error:
        return str(error).removeprefix(str(path))
    return ""


def test_bytes_that_are_no_text_are_one_sentence(tmp_path):
    path = tmp_path / "bear-alarm.yml"
    assert put(path, b"\xef\xbb\xbfbell: no\r\nsound: siren\r\n") == ""
    assert put(path, "events: Bär\n".encode("latin-1")) == ":1: byte 0xe4 is no UTF-8 text; save the file as UTF-8"
    assert put(path, b"bell: no\n\nevents: \xff\n").startswith(":3: byte 0xff")
    assert put(path, b"bell: no\nevents: a\x00b\n") == ":2: an unprintable sign (U+0000); take it out"
    assert put(path, b"bell: \x1b[0m\n").startswith(":1: an unprintable sign (U+001B)")
    assert put(path, b"# " + b"x" * 1_000_000) == ": larger than 1 MB; name a config"
    assert put(path, b"# " + b"x" * 900_000) == ""


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for path, words in (
        (tmp_path / "file" / "x.yml", "Not a directory"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(ConfigError, match=rf"it cannot be read \({words}\)"):
            load_config(path)


def test_a_pipe_does_not_hold_up_the_start(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no pipes with a name")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="no ordinary file"):
        load_config(tmp_path / "pipe")
