"""A change of one setting changes nothing else in a config, and keeps every comment."""

import os
import re
import stat
from pathlib import Path

import pytest
import yaml

from edge.config.edit import SHORT, Changes, read_only, save, text_of, text_with, version_of
from edge.config.load import load_text
from edge.config.schema import NAME, pattern, settings
from edge.config.template import template
from edge.config.yaml_tree import parse
from edge.errors import ConfigError, OptionError
from tests.helpers.config_text import uncommented

pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

NASTY = """\
# top  # of it
cameras:
    yard: "rtsp://bees:${PASSWORD}@10.0.0.2/main"   # the yard's
    trail:   {source: '/srv/it''s # no comment',  fps: 5 , zones: { hives: "0.1,0.5  0.6,0.5 0.6,1" }}   # trail
    # between two cameras
    hut:
        source: 0

        # a comment before a blank line

        fps: 07 # slow
        motion:
            mask:
            # the road
            - 0,0 1,0 1,0.2 0,0.2   # loud
            # the flag
            -  - [0, 0.8]
               - [1, 0.8]
               - [1, 1]
            # end of masks
        #schedule: daily 20-6
    bare:
        #fps: 3
        source: 1
detect: ~   # nothing
sound:
- siren   # loud
# quiet
-   chirp
# after the sound
bell: no
command: >-
    espeak
    "# bear"
# after the command
notify:
     - '${TELEGRAM}'   # the family
     - "ntfy://x-${TOPIC}/#1"
record:
  #quota_mb: 1
health:
   heartbeat: https://hc.example.org/${PING}   # dead man
   hot_c: 70
page: 8470 # here
# the end"""
SHARED = """\
usual: &usual
  fps: 5
cameras:
  a: &a
    <<: *usual
    source: 0
    threshold: &t 0.7
  b: *a
  c:
    source: 1
    fps: 3
    <<: *usual
    night_threshold: *t  # as that of a
"""
TEXTS = {
    "template": template(),
    "uncommented": uncommented(template()),
    "with alerts": template(sound="siren", relay="17", notify="ntfy://x", mqtt="mqtt://h", webhook="https://h/${X}"),
    "nasty": NASTY,
    "windows": NASTY.replace("\n", "\r\n"),
    "flow": "{cameras: {bare, yard: 0, hut: {source: 1, motion: {mask: [0]}}}, # a\n sound: [siren], page: {}}",
    "empty": "",
    "shared": SHARED,
}
IN_LISTS = {key for key in settings() if key[-2:-1] in {("relay",), ("lamps",)}}
LEAVES = sorted(set(settings()) - {key[:-1] for key in settings()} - {("mqtt",)} - IN_LISTS)
NAMES = {("cameras",): ["yard", "hut", "bare", "a", "b", "c", "new one"], ("cameras", NAME, "zones"): ["hives", "road"]}


@st.composite
def keys(draw):
    key: tuple[str, ...] = ()
    for part in draw(st.sampled_from(LEAVES)):
        key += (draw(st.sampled_from(NAMES[pattern(key)])) if part == NAME else part,)
    return key


WORDS = st.one_of(
    st.sampled_from(["5", "no", "~", "daily 20:00-06:00", "${NAME}", "it's", "a: b # c", "0.1,0.5 0.6,0.5", "- x", ""]),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12),
)
VALUES = st.one_of(st.none(), WORDS, st.lists(WORDS.filter(lambda word: word not in ("", "~")), min_size=1, max_size=3))


def comments(text):
    """Every comment of a text, in order of the alphabet; a section's name behind a # is one that may be taken in."""
    found, at = [], 0
    for token in yaml.scan(text):
        found += re.findall(r"#[^\r\n]*", text[at : token.start_mark.index])
        at = max(at, token.end_mark.index)
    return sorted(each.rstrip() for each in found if not re.fullmatch(r"#\w+:\s*", each))


def expanded(data, at=()):
    """Data in which no value stands for a section, and nothing is empty."""
    if not isinstance(data, dict):
        return {SHORT[at]: data} if at in SHORT and data else data or None
    inner = {name: expanded(value, pattern((*at, name))) for name, value in data.items()}
    return {name: value for name, value in inner.items() if value is not None} or None


def with_one_changed(data, key, value):
    """The expanded data, in which one setting has another value."""
    name, *rest = key
    data = dict(data or {})
    data[name] = with_one_changed(data.get(name), rest, value) if rest else (value or None)
    return {name: value for name, value in data.items() if value is not None} or None


@pytest.mark.parametrize("name", TEXTS)
@profile(max_examples=60, deadline=None)
@given(key=keys(), value=VALUES)
def test_a_change_changes_one_setting_and_keeps_every_comment(name, key, value):
    text = TEXTS[name]
    try:
        made = text_with(text, {key: value})
    except OptionError as error:
        refusal = str(error)
        assert refusal.startswith(key[0])
        # An anchor, a URL that stands for a section, and a key that has no colon.
        assert name == "shared" or key[0] == "mqtt" or (name, key[1]) == ("flow", "bare"), (key, value, refusal)
        return
    assert not parse(made).problems
    if not value and made == text:
        return  # it was not there
    assert expanded(parse(made).data) == with_one_changed(expanded(parse(text).data), key, value)
    assert comments(made) == comments(text)
    if name == "windows":
        assert "\n" not in made.replace("\r\n", "")


@pytest.mark.parametrize("key", [("cameras", "a", "source"), ("cameras", "b", "source"), ("usual", "fps")])
def test_what_an_anchor_shares_is_not_changed(key):
    with pytest.raises(OptionError, match=r"anchor .* shares it"):
        text_with(SHARED, {key: "7"})


def test_what_the_template_holds_behind_a_sign_is_taken_in_at_its_place():
    made = text_with(
        template(),
        {("detect", "fps"): "5", ("cameras", "camera0", "motion", "mask"): ["0,0 1,0 1,0.2", "0,1 1,1 1,0.9"]},
    )
    assert (
        "\ndetect:\n  # Frames analysed a second, and while nothing moves.\n  #fps: 10\n  fps: 5\n  #idle_fps" in made
    )
    assert "\n    motion:\n      mask:\n        - '0,0 1,0 1,0.2'\n        - '0,1 1,1 1,0.9'\n        #- 0,0" in made
    assert load_text(made, Path("/nowhere/bear-alarm.yml")).settings.cameras[0].settings.fps == 5


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "bear-alarm.yml"
    path.write_text("cameras: {yard: 0}  # mine\n")
    path.chmod(0o640)
    return path


def test_a_change_is_saved_whole_with_the_text_before_beside_it(config, tmp_path):
    link = tmp_path / "link.yml"
    link.symlink_to(config)
    assert save(link, {("detect", "fps"): "5"}, version_of(text_of(link)))
    assert not save(link, {("detect", "fps"): "5"}, version_of(text_of(link)))
    assert link.is_symlink()
    assert config.read_text() == "cameras: {yard: 0}  # mine\ndetect:\n  fps: 5\n"
    assert (tmp_path / "bear-alarm.yml.before").read_text() == "cameras: {yard: 0}  # mine\n"
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("bear*")} == {0o640}
    if os.geteuid() == 0:
        os.chown(config, 4711, 4712)
        save(link, {("detect", "fps"): None}, version_of(text_of(link)))
        assert {(path.stat().st_uid, path.stat().st_gid) for path in tmp_path.glob("bear*")} == {(4711, 4712)}
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root becomes another user")
def test_a_config_of_a_group_that_this_user_is_not_in_is_saved_for_the_user(config, tmp_path):
    os.chown(config, 65534, 0)
    os.chown(tmp_path, 65534, 65534)
    for folder in (tmp_path, *list(tmp_path.parents)[:-1]):
        folder.chmod(folder.stat().st_mode | 0o011)
    before, groups = config.read_text(), os.getgroups()
    os.setgroups([])
    os.setegid(65534)
    os.seteuid(65534)
    try:
        assert save(config, {("detect", "fps"): "5"}, version_of(before))
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
    found = config.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (65534, 65534, 0o600)


def test_what_somebody_else_wrote_meanwhile_stays(config):
    version = version_of(text_of(config))
    config.write_text("cameras: {hut: 0}\n")
    with pytest.raises(OptionError, match=r"bear-alarm\.yml was changed by somebody else meanwhile"):
        save(config, {("detect", "fps"): "5"}, version)
    assert config.read_text() == "cameras: {hut: 0}\n"


def test_what_cannot_be_used_is_not_saved(config):
    before = config.read_text()
    changes: Changes = {("detect", "fps"): "fast", ("detect", "threshold"): "2"}
    with pytest.raises(ConfigError) as raised:
        save(config, changes, version_of(before))
    assert [(each.key, each.line) for each in raised.value.problems] == [("detect.fps", 3), ("detect.threshold", 4)]
    with pytest.raises(ConfigError):
        save(config, "cameras: [", version_of(before))
    assert config.read_text() == before
    assert list(config.parent.iterdir()) == [config]


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_a_config_that_this_user_may_only_read_is_named(config):
    assert read_only(config) is None
    config.chmod(0o400)
    user = os.getuid()
    if user == 0:  # may write everything: another user's rights are looked at
        os.setreuid(65534, -1)
    try:
        assert "this user may only read it" in (read_only(config) or "")
    finally:
        os.setreuid(user, -1)
