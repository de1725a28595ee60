"""The broker's address and the names of topics: what is typed wrong is one sentence, and no secret is in it."""

import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from edge.alert.mqtt_discovery import Topics, device_id, segment
from edge.alert.mqtt_settings import MqttSettings, settings_from_url
from edge.errors import OptionError, UnavailableError

pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import example, given
from hypothesis import strategies as st

SECRET = "s3cr3t-pa55"


def test_a_url_holds_everything():
    plain = settings_from_url("mqtt://broker.lan")
    assert (plain.host, plain.port, plain.prefix, plain.tls) == ("broker.lan", 1883, "bear-alarm", False)
    assert (plain.user, plain.password, plain.discovery, plain.every_s) == (None, None, "homeassistant", 30.0)
    full = settings_from_url(
        f"MQTTS://bee%40hive:{SECRET}%2F%23@10.0.0.7:8884/hives/bears/?ca=/etc/ca.pem&insecure=0&every=5&pictures=no"
        "&discovery=ha&client_id=hive-1"
    )
    assert (full.user, full.password) == ("bee@hive", f"{SECRET}/#")
    assert (full.host, full.port, full.prefix) == ("10.0.0.7", 8884, "hives/bears")
    assert (full.tls, full.ca, full.insecure, full.pictures) == (True, Path("/etc/ca.pem"), False, False)
    assert (full.discovery, full.every_s, full.client_id) == ("ha", 5.0, "hive-1")
    assert settings_from_url("mqtts://h").port == 8883
    assert settings_from_url("mqtt://h?discovery=0").discovery == ""
    assert settings_from_url("mqtt://[fe80::1]:1884").where == "[fe80::1]:1884"


def test_a_state_is_published_more_often_than_it_expires():
    for every_s in (0.05, 0.5, 1.0, 29.9, 30.0, 3600.0):
        settings = MqttSettings("h", every_s=every_s)
        assert settings.expire_s >= max(1, 3 * every_s)
        assert isinstance(settings.expire_s, int)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("broker.lan", "mqtt://"),
        (f"http://user:{SECRET}@broker", "mqtt://"),
        (f"mqtt://user:{SECRET}@", "host"),
        (f"mqtt://user:{SECRET}@broker:port", "port"),
        (f"mqtt://user:{SECRET}@broker:0", "port 0"),
        (f"mqtt://user:{SECRET}@broker:70000", "port"),
        (f"mqtt://user:{SECRET}/x@broker", "%25, %2F"),
        (f"mqtt://user:{SECRET}?x@broker", "%3F"),
        (f"mqtt://user:{SECRET}#x@broker", "%23"),
        (f"mqtt://user:{SECRET}%FF@broker", "password"),
        (f"mqtt://user:{SECRET}@[broker", "cannot be read"),
        (f"mqtt://user:{SECRET}@bro\u2100ker", "cannot be read"),
        (f"mqtt://user:{SECRET}@{'x' * 64}.lan", "host"),
        (f"mqtt://user:{SECRET}@a..b", "host"),
        (f"mqtt://user:{SECRET}@broker/a/+/b", "topic"),
        (f"mqtt://user:{SECRET}@broker/a//b", "topic"),
        (f"mqtt://user:{SECRET}@broker/$SYS", "topic"),
        (f"mqtt://user:{SECRET}@broker/a#b", "#"),
        (f"mqtt://broker?password={SECRET}", "does not exist"),
        (f"mqtt://user:{SECRET}@broker?ca=/x", "mqtts://"),
        (f"mqtts://user:{SECRET}@broker?ca=~nobody-here/x", "home"),
        (f"mqtt://user:{SECRET}@broker?every=often", "often"),
        (f"mqtt://user:{SECRET}@broker?every=nan", "between"),
        (f"mqtt://user:{SECRET}@broker?pictures=maybe", "maybe"),
        (f"mqtt://user:{SECRET}@broker?discovery=a%2F%2Fb", "discovery"),
    ],
)
def test_what_is_wrong_is_one_sentence_without_the_password(url, words):
    with pytest.raises(OptionError) as raised:
        settings_from_url(url)
    assert words in str(raised.value)
    assert SECRET not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_ca_that_cannot_be_used_is_one_sentence(tmp_path):
    settings = MqttSettings("h", tls=True, ca=tmp_path / "none.pem")
    with pytest.raises(UnavailableError, match="is not there; mount its disk"):
        settings.tls_context()
    (tmp_path / "empty.pem").write_text("no certificate")
    with pytest.raises(OptionError, match="no certificates"):
        replace(settings, ca=tmp_path / "empty.pem").tls_context()
    assert MqttSettings("h").tls_context() is None


def test_no_secret_is_shown():
    settings = settings_from_url(f"mqtt://beekeeper:{SECRET}@h/p")
    assert SECRET not in repr(settings)
    assert "beekeeper" not in repr(settings)


@given(st.text(max_size=60))
@example("mqtt://h:\ud800")
@example("mqtts://[v1.x]/")
def test_any_text_is_settings_or_one_sentence(text):
    for url in (text, f"mqtt://{text}", f"mqtts://u:{text}@h", f"mqtt://h/{text}"):
        with suppress(OptionError):
            settings_from_url(url)


CAMERAS = st.text(max_size=60) | st.text("+#/ -_aä0f", max_size=8) | st.just("yard")


@given(st.lists(CAMERAS, unique=True, max_size=8))
@example(["yard", "Yard", "ya rd", "ya/rd", "yä rd", "", " ", "+", "#", "\0", "\ud800", "a" * 41, "a" * 40, "a" * 99])
def test_each_camera_has_topics_of_its_own_that_every_broker_takes(cameras):
    levels = [segment(camera) for camera in cameras]
    assert len(set(levels)) == len(levels)
    everybody = {*cameras, *levels}  # a camera may be called what another one was made into
    assert len({segment(camera) for camera in everybody}) == len(everybody)
    for camera, level in zip(cameras, levels, strict=True):
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,49}", level)
        assert segment(camera) == level
    topics = Topics("p")
    of_each = [topics.camera_available, topics.bear, topics.attributes, topics.last_alarm, topics.snapshot]
    all_ = [name(camera) for camera in cameras for name in of_each] + [topics.available, topics.events, topics.stats]
    assert len(set(all_)) == len(all_)


def test_a_plain_name_stays_as_it_is_and_no_name_can_be_taken_for_a_made_one():
    assert segment("yard_2-left") == "yard_2-left"
    made = segment("Bienenstöcke/links")
    assert re.fullmatch(r"Bienenstocke_links-[0-9a-f]{8}", made)
    assert segment(made) != made


def test_a_device_keeps_its_name_and_reveals_nothing_by_it(tmp_path, monkeypatch):
    machine = tmp_path / "machine-id"
    machine.write_text("0123456789abcdef0123456789abcdef\n")
    monkeypatch.setattr("edge.alert.mqtt_discovery.MACHINE", (machine,))
    first = device_id("bear-alarm")
    assert re.fullmatch(r"[0-9a-f]{12}", first)
    assert first == device_id("bear-alarm")
    assert len({first, device_id("other"), device_id("bear-alarm", "mine")}) == 3
    (tmp_path / "serial").write_text("10000000abcdef01\0")  # a second board with a copy of the card
    monkeypatch.setattr("edge.alert.mqtt_discovery.SERIAL", tmp_path / "serial")
    assert device_id("bear-alarm") != first
    machine.unlink()
    assert device_id("bear-alarm") == device_id("bear-alarm")
