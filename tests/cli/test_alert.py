"""`alert test` as a person types it, and everyone who is told by `watch`."""

from __future__ import annotations

import importlib.util
import json
import shutil

import pytest

from edge.alert.alerting import Alerting
from edge.alert.mqtt_settings import settings_from_url
from edge.errors import OptionError
from edge.files import JOURNAL
from edge.record.history import JournalReader
from edge.record.run import EventFactory
from edge.settings import AlertSettings
from tests.helpers.broker import Broker, Listener, refusing_port
from tests.helpers.command import bear_alarm
from tests.helpers.sink_world import event, soon
from tests.helpers.webhook_server import PostBox

PLAYS = "#!/bin/sh\nexit 0\n"

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def own_pins(monkeypatch):
    """No pin factory yet, as in a new process: gpiozero keeps the first one it makes."""
    if importlib.util.find_spec("gpiozero"):
        monkeypatch.setattr("gpiozero.Device.pin_factory", None)


def alert(*words, **variables):
    return bear_alarm("alert", "test", *words, **variables)


def player(folder, name):
    """A program of that name that says it plays whatever it is given."""
    (folder / "bin").mkdir(exist_ok=True)
    program = folder / "bin" / name
    program.write_text(PLAYS)
    program.chmod(0o700)


def path(folder):
    """Only the programs in there, and the shell."""
    (folder / "bin").mkdir(exist_ok=True)
    for name in ("sh", "cat", "true"):
        if not (folder / "bin" / name).exists():
            (folder / "bin" / name).symlink_to(shutil.which(name))
    return str(folder / "bin")


def kept(state):
    with JournalReader(state / JOURNAL) as journal:
        return journal.incidents()


def test_each_answers_and_the_event_is_marked_as_a_test(tmp_path):
    got = tmp_path / "got.json"
    done = alert("--on-alarm", f"cat > {got}", "--events", "-")
    assert done.returncode == 0, done.stderr
    heard = json.loads(got.read_text())
    printed = json.loads(done.stdout)
    assert heard["kind"] == printed["kind"] == "test"
    assert heard["id"] == printed["id"]
    assert not printed["durable"]
    assert heard["label"] == "test"  # $BEAR_LABEL of a command that is tried
    for who in ("the bell", "--on-alarm", "--events -"):
        assert any(line.startswith(who) and "OK, after" in line for line in done.stderr.splitlines()), who


def test_one_that_fails_is_named_and_ends_it_with_one(tmp_path):
    done = alert("--on-alarm", "exit 7")
    assert done.returncode == 1
    (row,) = [line for line in done.stderr.splitlines() if line.startswith("--on-alarm ") and "FAILED: " in line]
    assert "exit code 7" in row


def test_a_webhook_gets_the_word_and_then_the_picture(tmp_path):
    with PostBox() as box:
        done = alert("--webhook", f"http://127.0.0.1:{box.port}/bears", BEAR_ALARM_WEBHOOK_SECRET=SECRET)
        assert done.returncode == 0, done.stderr
        word, picture = box.posted
    assert json.loads(word.body)["kind"] == "test"
    assert picture.body[:2] == b"\xff\xd8"
    assert all("X-Bear-Alarm-Signature" in each.headers for each in (word, picture))
    assert SECRET not in done.stderr + done.stdout


def test_what_could_not_be_delivered_is_reported_and_kept_nowhere(tmp_path):
    with refusing_port() as port:
        url = f"http://user:{SECRET}@127.0.0.1:{port}/x?token={SECRET}"
        done = alert("--webhook", url, "--wait", 2, BEAR_ALARM_STATE=str(tmp_path / "state"))
    assert done.returncode == 1
    word, picture = [line for line in done.stderr.splitlines() if line.startswith("webhook") and "FAILED: " in line]
    assert "Connection refused" in word
    assert "picture was not sent" in picture
    assert "is kept" not in done.stderr
    assert SECRET not in done.stderr + done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs_tool("mosquitto")
def test_a_broker_gets_it_while_the_alarm_itself_goes_on(tmp_path):
    (tmp_path / "broker").mkdir()
    with Broker(tmp_path / "broker") as broker, Listener(broker, "bear-alarm/#") as listener:
        done = alert("--mqtt", f"mqtt://127.0.0.1:{broker.port}")
        assert done.returncode == 0, done.stderr
        assert soon(lambda: listener.of("bear-alarm/events"))
        assert json.loads(listener.of("bear-alarm/events")[0])["kind"] == "test"
        # The alarm that watches has a last will and a state of its own; a test leaves them alone.
        assert listener.of("bear-alarm/available") == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--on-alarm", " "], "--on-alarm is empty"),
        (["--deterrent-lamp", "17"], "--deterrent-lamp belongs to a deterrent"),
        (["--deterrent-hours", "daily 20:00-06:00"], "--deterrent-hours belongs to a deterrent"),
        (["--relay", "99"], "--relay: '99' is no pin"),
        (["--sound", "trumpet"], "siren, chirp, horn, barks, shouts, bangs, or the path of a WAV file"),
        (["--sound-seconds", "5"], "--sound-seconds belongs to a sound"),
        (["--deterrent", "on", "--sound-seconds", "5"], "--sound-seconds belongs to a sound"),
        (["--sound-device", "null"], "--sound-device belongs to a sound"),
        (["--relay", "17", "--deterrent", "on", "--deterrent-lamp", "17:5"], "pin 17 is already that of --relay 17"),
        (["--mqtt", "http://x"], "mqtt://"),
        (["--webhook", "ftp://x"], "http"),
        (["--notify", "nonsense"], "Apprise"),
        (["--deterrent", "no-such-word"], "no folder"),
        (["--mqtt", "mqtt://a", "--mqtt", "mqtt://b"], "--mqtt is given 2 times"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(tmp_path, words, sentence):
    done = alert(*words)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def alerting(state=None, **settings):
    return Alerting(AlertSettings(bell=False, **settings), EventFactory(), state=state)


def test_a_line_is_printed_once_the_journal_has_the_event(tmp_path):
    lines = tmp_path / "events.jsonl"
    everyone = alerting(tmp_path / "state", events=str(lines))
    everyone.publish(event())
    everyone.close(20.0)
    (line,) = lines.read_text().splitlines()
    assert json.loads(line)["durable"]
    assert [one.id for one in kept(tmp_path / "state")] == [json.loads(line)["id"]]


def test_without_a_state_folder_nothing_is_kept_and_lines_are_printed_all_the_same(tmp_path):
    lines = tmp_path / "events.jsonl"
    everyone = alerting(events=str(lines))
    everyone.publish(event())
    everyone.close(20.0)
    assert len(lines.read_text().splitlines()) == 1
    assert everyone.journal is None
    assert [path.name for path in tmp_path.iterdir()] == ["events.jsonl"]


def test_a_state_folder_that_cannot_be_had_leaves_the_alarm_alive(tmp_path):
    (tmp_path / "state").write_text("a file, where the folder should be")
    lines = tmp_path / "events.jsonl"
    everyone = alerting(tmp_path / "state", events=str(lines))
    everyone.publish(event())
    everyone.close(20.0)
    assert len(lines.read_text().splitlines()) == 1
    assert everyone.journal is not None
    assert everyone.journal.problem


def test_a_sink_that_goes_on_failing_is_reported_as_the_alarms_own_trouble(tmp_path):
    lines = tmp_path / "events.jsonl"
    everyone = alerting(tmp_path / "state", events=str(lines), on_alarm="exit 7")
    everyone.publish(event())
    assert soon(lambda: everyone.workers[0].failures == 1)
    for now in (1e6, 1e6 + 10, 1e6 + 100):
        everyone.tick(now)
    everyone.close(20.0)
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    (health,) = [each for each in told if each["kind"] == "health"]
    assert (health["type"], health["label"]) == ("new", "--on-alarm")
    assert "exit code 7" in health["detail"]


def test_a_setting_that_is_refused_closes_what_was_made_before(tmp_path):
    with pytest.raises(OptionError, match="named twice"):
        alerting(tmp_path / "state", notify=("json://127.0.0.1:9/x", "json://127.0.0.1:9/x"), on_alarm="true")


def test_settings_hide_their_secrets():
    settings = AlertSettings(
        mqtt=settings_from_url(f"mqtt://me:{SECRET}@x"),
        webhook=f"http://x/{SECRET}",
        webhook_secret=SECRET,
        notify=(f"ntfy://{SECRET}",),
    )
    assert SECRET not in repr(settings)


def test_a_refusal_is_final_and_is_not_waited_for(tmp_path):
    with PostBox(404, 404) as box:
        done = alert("--webhook", f"http://127.0.0.1:{box.port}/x", "--wait", 100)
    assert done.returncode == 1
    assert "HTTP 404" in done.stderr


def test_one_pin_that_cannot_be_had_does_not_keep_the_others_from_being_tried(tmp_path):
    got = tmp_path / "got"
    done = alert("--relay", "17", "--on-alarm", f"cat > {got}", GPIOZERO_PIN_FACTORY="nonsense")
    assert done.returncode == 1
    assert any(line.startswith("relay 17") and "FAILED: " in line for line in done.stderr.splitlines())
    assert json.loads(got.read_text())["kind"] == "test"


def test_a_lamp_that_cannot_be_had_is_shown_by_its_own_name(tmp_path):
    player(tmp_path, "aplay")
    words = ["--deterrent", "on", "--deterrent-lamp", "27", "--sound-device", "null"]
    done = alert(*words, "--on-alarm", "true", GPIOZERO_PIN_FACTORY="nonsense", PATH=path(tmp_path))
    assert done.returncode == 1
    said = done.stderr.splitlines()
    assert any(line.startswith("deterrent ") and "FAILED: lamp 27 stays dark" in line for line in said)
    assert any(line.startswith("--on-alarm") and "OK" in line for line in said)


def test_a_relay_is_switched_and_shown(tmp_path):
    done = alert("--relay", "17:1", GPIOZERO_PIN_FACTORY="mock")
    assert done.returncode == 0, done.stderr
    assert any(line.startswith("relay 17:1") and "OK" in line for line in done.stderr.splitlines())


def test_all_are_tried_and_what_failed_is_named_where_nothing_can_sound(tmp_path):
    """Without a player, pins and a service's library: each is a row of its own, and the others are told."""
    got = tmp_path / "got"
    horn = tmp_path / "usb" / "horn.wav"  # of a disk that is not mounted
    words = ["--sound", "siren", "--relay", "17", "--notify", "dbus://", "--on-trouble", "no-such-program-here"]
    words += ["--sound", horn]
    done = alert(*words, "--on-alarm", f"cat > {got}", PATH=path(tmp_path), GPIOZERO_PIN_FACTORY="x")
    assert done.returncode == 1
    rows = {line.split("  ")[0]: line for line in done.stderr.splitlines() if "FAILED: " in line or ", after " in line}
    failed = [who for who, line in rows.items() if "FAILED: " in line]
    assert {"sound siren", "relay 17", f"sound {horn}"} <= set(failed)
    assert "is not there" in rows[f"sound {horn}"]
    assert "--on-trouble" in failed
    assert "aplay" in rows["sound siren"]
    assert "OK" in rows["--on-alarm"]
    assert json.loads(got.read_text())["kind"] == "test"
