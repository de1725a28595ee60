"""${NAME} in a config: found in the environment, systemd's credentials or secrets.yml, and never shown."""

import logging
import os

import pytest

from edge.config import load_config
from edge.config.load import load_text
from edge.config.schema import Config
from edge.errors import ConfigError, UnavailableError
from edge.minisign import SecretKey
from tests.helpers.config_text import made, problems

SECRET = "s3cr3t-pa55w0rd"


@pytest.fixture(autouse=True)
def _no_names(monkeypatch):
    for name in ("MQTT_PASSWORD", "HOOK", "X", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


def test_the_environment_goes_before_credentials_and_they_before_the_file(monkeypatch, tmp_path):
    text = "webhook: {url: 'https://example.org/${HOOK}', secret: '${HOOK}'}"
    (tmp_path / "secrets.yml").write_text("HOOK: from-file\n")
    assert made(text, tmp_path).alerts.webhook == "https://example.org/from-file"
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "HOOK").write_text("from-systemd\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert made(text, tmp_path).alerts.webhook == "https://example.org/from-systemd"
    monkeypatch.setenv("HOOK", "from-environment")
    found = made(text, tmp_path).alerts
    assert (found.webhook, found.webhook_secret) == ("https://example.org/from-environment", "from-environment")
    monkeypatch.setenv("HOOK", "")  # empty counts as none
    assert made(text, tmp_path).alerts.webhook == "https://example.org/from-systemd"


def test_any_value_may_hold_names(monkeypatch, tmp_path):
    (tmp_path / "secrets.yml").write_text("FPS: 5\nNAME: siren\nPART: ter\nON: yes\nCORNERS: 0.1,0.5 0.6,0.5 0.6,1\n")
    found = made(
        """
        detect: {fps: "${FPS}"}
        sound: ["${NAME}"]
        command: {on_alarm: "echo $${NAME} ${NAME} $NAME"}
        mqtt: "mqtt://bro${PART}.lan"
        record: {full_frame: "${ON}"}
        cameras: {a: {source: 0, zones: {b: "${CORNERS}"}}}
        """,
        tmp_path,
    )
    assert found.cameras[0].settings.fps == 5.0
    assert found.cameras[0].settings.zones[0].corners[2] == (0.6, 1.0)
    assert (found.alerts.sounds, found.alerts.on_alarm) == (("siren",), "echo ${NAME} siren $NAME")
    assert found.alerts.mqtt is not None
    assert found.alerts.mqtt.host == "broter.lan"
    assert found.evidence.full


def test_what_a_name_holds_is_not_looked_into_again(monkeypatch, tmp_path):
    monkeypatch.setenv("X", "${HOOK}: [*a, !b")
    assert made("events: 'x ${X}'", tmp_path).alerts.events == str(tmp_path / "x ${HOOK}: [*a, !b")


def test_a_name_without_a_value_is_shown_with_its_line(monkeypatch, tmp_path):
    text = "bell: no\nmqtt:\n  host: h\n  password: ${MQTT_PASSWORD}\nnotify:\n  - ${X}\n"
    first, second = problems(text, tmp_path)
    assert first.startswith(
        "4: mqtt.password: ${MQTT_PASSWORD} has no value: no environment variable, and there is no "
    )
    assert str(tmp_path / "secrets.yml") in first
    assert second.startswith("6: notify[1]: ${X} has no value")
    (tmp_path / "secrets.yml").write_text("MQTT_PASSWORDD: x\nX:\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    found = problems(text, tmp_path)
    assert len(found) == 2
    assert "no credential in $CREDENTIALS_DIRECTORY, and not in" in found[0]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("${", "has no } behind it"), ("a ${X", "has no } behind it"), ("'${}'", "holds no name"),
        ("'${BEAR:-x}'", r"holds no name"), ("'${a b}'", "holds no name"), ("'${../x}'", "holds no name"),
    ],
)  # fmt: skip
def test_what_is_no_name_is_shown(value, words):
    (found,) = problems(f"events: {value}")
    assert words in found
    assert "$${" in found


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"a: [\n  {SECRET}", "secrets.yml:1: "), (f"X: \n\t{SECRET}\n", "secrets.yml:2: a tab"),
        (f"- {SECRET}\n", "does not hold lines of NAME: value"), (f"X: {{{SECRET}: 1}}", "not in"),
        (f"X {SECRET}", "does not hold lines"), (b"\xff\xfe" + SECRET.encode(), "no UTF-8"),
        (f"Y: {SECRET}\nY: {SECRET}\n", "secrets.yml:2: it is set twice"),
        (f"X: {SECRET}\nX: {SECRET}\n", "secrets.yml:2: it is set twice"),  # and not the first of them
        (f"X: “{SECRET}”\n", "secrets.yml:1: U+201C"), (f"X: &{SECRET}\n", "secrets.yml:1: put text"),
    ],
)  # fmt: skip
def test_a_file_of_secrets_that_is_wrong_is_shown_without_them(content, words, tmp_path):
    (tmp_path / "secrets.yml").write_bytes(content if isinstance(content, bytes) else content.encode())
    (found,) = problems("events: ${X}", tmp_path)
    assert words in found
    assert SECRET not in found


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
def test_a_file_of_secrets_that_others_may_read_is_shown_once(tmp_path, caplog):
    (tmp_path / "bear-alarm.yml").write_text("events: ${X}\nstate: ${X}2\n")
    secrets = tmp_path / "secrets.yml"
    secrets.write_text(f"X: {SECRET}\n")
    secrets.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        load_config(tmp_path / "bear-alarm.yml")
    assert [record.getMessage() for record in caplog.records] == [
        f"{secrets} may be read by everybody on this device; run: chmod 600 {secrets}"
    ]
    caplog.clear()
    secrets.chmod(0o640)
    load_config(tmp_path / "bear-alarm.yml")
    secrets.chmod(0o644)
    (tmp_path / "bear-alarm.yml").write_text("events: x\n")  # it is not even opened
    load_config(tmp_path / "bear-alarm.yml")
    assert not caplog.records


WITH_A_SECRET = [
    "detect: {fps: '${X}'}",
    "detect: {fps: '1${X}'}",
    "detect: {schedule: 'daily ${X}'}",
    "bell: ${X}",
    "relay: ['${X}', {pin: '${X}', active: '${X}'}]",
    "sound: ${X}",
    "deterrent: ${X}",
    "model: ${X}",
    "health: {listen: '${X}', heartbeat: 'ftp://${X}', hot_c: '${X}', reboot: '${X}'}",
    "mqtt: 'mqtt://bees:${X}@broker/a//b'",
    "mqtt: 'mqtt://h:70000/${X}'",
    "mqtt: '${X}'",
    "mqtt: {host: 'h h${X}', prefix: '+${X}', discovery: '#${X}', port: '${X}', tls: '${X}', ca: '${X}'}",
    "mqtt: {host: h, tls: yes, ca: '/no/${X}'}",
    "webhook: 'https://${X}:port/x'",
    "webhook: 'ftp://${X}'",
    "webhook: {url: 'https://exa mple.org/${X}', secret: '${X}'}",
    "notify: ['${X}', 'no://${X}', 'tgram://${X}']",
    "record: {path: '${X}\\0', quota_mb: '${X}'}",
    "cameras: {a: {source: 0, zones: {b: '${X}'}, motion: {mask: ['${X}', '0.1,0.2 ${X}']}}}",
    "cameras: {a: {source: [ '${X}' ]}, b: {source: 'x${X}', follow: '${X}'}}",
    "cameras: '${X}'",
    "'${X}': 1",
]


@pytest.mark.parametrize("text", WITH_A_SECRET)
@pytest.mark.parametrize("secret", [SECRET, "s3cr3t/pa55 w0rd", "-s3cr3t:@#pa55", "S3CR3T\npa55"])
def test_what_a_name_holds_is_never_shown(text, secret, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("X", secret)
    with caplog.at_level(logging.DEBUG), pytest.raises(ConfigError) as raised:
        load_text(text, tmp_path / "bear-alarm.yml")
    # pytest listens to Apprise's loggers too, which nobody else hears.
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("edge")]
    shown = f"{raised.value} {raised.value!r} {raised.value.problems} {logged} {raised.value.__context__!r}".lower()
    assert "s3cr3t" not in shown
    assert "pa55" not in shown


def test_a_path_in_an_address_with_a_secret_may_be_away(monkeypatch, tmp_path):
    """The password is filled in, and the path, which is shown, is not made of it."""
    monkeypatch.setenv("X", SECRET)
    text = f"mqtt: 'mqtts://bees:${{X}}@h/?ca={tmp_path}/usb/ca.pem'"
    broker = load_text(text, tmp_path / "bear-alarm.yml").settings.alerts.mqtt
    assert broker
    with pytest.raises(UnavailableError) as raised:
        broker.tls_context()
    assert SECRET not in str(raised.value)


def test_no_repr_shows_a_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("X", SECRET)
    text = (
        "mqtt: {host: h, user: '${X}', password: '${X}'}\nwebhook: {url: 'https://h/${X}', secret: '${X}'}\n"
        "notify: 'ntfy://${X}'\nhealth: {heartbeat: 'https://h/${X}'}\ncameras: {a: 'rtsp://u:${X}@h/'}\n"
    )
    loaded = load_text(text, tmp_path / "bear-alarm.yml")
    assert SECRET in str(loaded.settings.alerts.webhook)
    assert SECRET not in repr(loaded)
    config = Config.model_validate({"mqtt": {"host": "h", "password": SECRET}, "notify": [SECRET]})
    assert SECRET not in f"{config!r} {config} {config.mqtt!r}"


def test_a_private_key_that_signs_models_is_wrong_in_any_value(monkeypatch, tmp_path):
    text = SecretKey.new().locked("x", operations=1 << 15, memory=1 << 20)
    line = text.splitlines()[1]
    monkeypatch.setenv("X", line)
    (tmp_path / "secrets.yml").write_text(f"KEY: {line}\n")
    for value in (line, text, "${X}", "a ${KEY}"):
        (problem,) = problems(f"webhook: {{url: 'https://h/', secret: '{value}'}}", tmp_path)
        assert "webhook.secret: a private key that signs models" in problem
        assert line not in problem
