"""The alerts: asked without a noise, without switching a pin and without sending anything."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge.alert.mqtt_settings import settings_from_url
from edge.cli.doctor import alerts as alert_checks
from edge.cli.doctor.command import check_anyone
from edge.decide.stages import StageEntry
from edge.page.accounts import Accounts
from edge.record.run import RunLock
from edge.record.stage_log import write_stage
from edge.settings import AlertSettings, Camera, HealthSettings, PageSettings, Settings, StageSettings
from tests.helpers.broker import Broker, Listener, refusing_port
from tests.helpers.doctor_world import by_name, device, put
from tests.helpers.state_folder import StateFolder
from tests.helpers.webhook_server import PostBox


def with_alerts(root, **alerts):
    return device(root, settings=Settings(alerts=AlertSettings(**alerts)))


@pytest.mark.needs_tool("aplay")
def test_a_loudspeaker_that_opens_and_one_that_does_not(tmp_path):
    def sounds(name):
        return by_name(alert_checks.check_sounds(with_alerts(tmp_path, sounds=("chirp",), sound_device=name)))

    assert sounds("null")["sound chirp"].state == "fine"
    found = sounds("nosuchcard")["sound chirp"]
    assert found.state == "broken"
    assert "audio open error" in found.words
    assert "aplay -L" in found.todo


def test_no_player_and_no_such_sound_are_broken(tmp_path, monkeypatch):
    alerts = {"sounds": ("siren", str(tmp_path / "no.wav")), "deterrent": str(tmp_path / "nofolder")}
    found = by_name(alert_checks.check_sounds(with_alerts(tmp_path, **alerts)))
    assert found["deterrent"].state == "broken"
    assert found[f"sound {tmp_path}/no.wav"].state == "broken"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    found = by_name(alert_checks.check_sounds(with_alerts(tmp_path, sounds=("siren",))))
    assert "no program that plays sounds" in found["sound siren"].words
    assert "alsa-utils" in found["sound siren"].todo


class Kernel:
    """A chip with pins that answers as linux/gpio.h has it; nothing else may be asked of it."""

    def __init__(self, **used):
        self.used = {int(name[3:]): by for name, by in used.items()}

    def __call__(self, file, what, question):
        if what == alert_checks.GET_CHIP:
            struct.pack_into("32s32sI", question, 0, b"gpiochip0", b"pinctrl-bcm2711", 58)
        elif what == alert_checks.GET_LINE:
            (number,) = struct.unpack_from("=I", question, 64)
            if number in self.used:
                struct.pack_into("32s", question, 32, self.used[number].encode())
                struct.pack_into("=Q", question, 72, 1)
        else:
            raise AssertionError(f"asked for {what:#x}")


def pins(kernel, target, monkeypatch):
    monkeypatch.setattr("fcntl.ioctl", kernel)
    return list(alert_checks.check_pins(target))


def test_pins_are_asked_of_the_kernel_and_not_switched(tmp_path, monkeypatch):
    put(tmp_path, dev__gpiochip0="")
    alerts = {"relays": ("17:30:low", "22"), "deterrent_lamps": ("27",)}
    found = by_name(pins(Kernel(pin22="spi0 CS1"), with_alerts(tmp_path, **alerts), monkeypatch))
    assert found["relay 17:30:low"].state == "fine"
    assert "was not switched; for a LoRa node" in found["relay 17:30:low"].words  # it looks once in 30 s
    assert found["relay 22"].state == "broken"
    assert "another program (spi0 CS1)" in found["relay 22"].words
    assert found["lamp 27"].state == "fine"
    alarm = RunLock(tmp_path / "state", "a" * 32)
    assert alarm.take()
    found = by_name(pins(Kernel(pin22="lg"), with_alerts(tmp_path, relays=("22:40",)), monkeypatch))
    alarm.close()
    assert found["relay 22:40"].state == "fine"
    assert "the running alarm" in found["relay 22:40"].words
    assert "LoRa" not in found["relay 22:40"].words


def test_a_machine_without_pins_and_pins_that_are_made_up(tmp_path, monkeypatch):
    found = by_name(pins(Kernel(), with_alerts(tmp_path, relays=("17",)), monkeypatch))
    assert found["pins"].state == "broken"
    assert pins(Kernel(), with_alerts(tmp_path), monkeypatch) == []
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    put(tmp_path, dev__gpiochip0="")
    found = by_name(pins(Kernel(), with_alerts(tmp_path, relays=("17",)), monkeypatch))
    assert (found["pins"].state, found["relay 17"].state) == ("doubt", "fine")


def test_commands_and_the_file_of_events(tmp_path):
    alerts = {"on_alarm": "nosuchprogram --token sekret", "on_trouble": "true", "events": str(tmp_path / "no" / "e")}
    found = by_name(alert_checks.check_commands(with_alerts(tmp_path, **alerts)))
    assert found["command on_alarm"].state == "broken"
    assert "sekret" not in str(found)
    assert found["command on_trouble"].state == "fine"
    assert found["events"].state == "doubt"


@pytest.mark.skipif(os.name != "posix", reason="a POSIX shell's scripts")
@pytest.mark.parametrize(
    ("script", "program", "answer", "state", "words", "todo"),
    [("sms.sh", "mmcli", "modem.generic.state : registered", "fine", "in the network", ""),
     ("sms.sh", "mmcli", "modem.generic.unlock-required : sim-pin\nmodem.generic.state : locked", "broken",
      "the SIM is locked", "PIN"),
     ("sms.sh", "mmcli", "modem.generic.state : failed\nmodem.generic.state-failed-reason : sim-missing", "broken",
      "no SIM", "put one in"),
     ("sms.sh", "mmcli", "modem.generic.state : searching", "broken", "no network (searching)", "antenna"),
     ("sms.sh", "mmcli", "modem.generic.state : disabled", "broken", "the next text turns it on", "--enable"),
     ("sms.sh", "mmcli", None, "broken", "no modem", "mmcli -L"),
     ("meshtastic.sh", "meshtastic", "Connected to radio\nlora.region: 3", "fine", "a node answers", ""),
     ("meshtastic.sh", "meshtastic", "lora.region: 0", "broken", "sends nothing", "lora.region EU_868"),
     ("meshtastic.sh", "meshtastic", None, "broken", "no node answers (error: cannot)", "--info")],
)  # fmt: skip
def test_a_script_for_texts_looks_at_its_modem_or_radio_and_sends_nothing(
    tmp_path, monkeypatch, script, program, answer, state, words, todo
):
    said = f"echo '{answer}'" if answer else "echo 'error: cannot'; exit 1"
    put(tmp_path, **{program: f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\n{said}\n'})
    (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    line = f"{Path(__file__).parents[2]}/docs/no-network/{script} {'+1' if script == 'sms.sh' else 1}"
    found = by_name(alert_checks.check_commands(with_alerts(tmp_path, text=line)))["command text"]
    assert found.state == state
    assert words in found.words
    assert todo in found.todo
    (asked,) = (tmp_path / "asked").read_text().splitlines()
    assert not {"send", "create", "text"} & set(asked.replace("-", " ").split())


def test_a_command_for_texts_that_cannot_look_or_is_more_than_a_script_is_not_run(tmp_path, monkeypatch):
    script = tmp_path / "text.sh"
    looks = "# BEAR_CHECK\necho x > ran"
    for text, line, mode in (
        ("echo x > ran", script, 0o755),
        (looks, f"{script} | tee log", 0o755),
        (looks, script, 0o775),
    ):
        script.write_text(f"#!/bin/sh\ncd {tmp_path}\n{text}\n")
        script.chmod(mode)
        if mode == 0o775:  # others may write what root would run
            monkeypatch.setattr("os.geteuid", lambda: 0)
        found = by_name(alert_checks.check_commands(with_alerts(tmp_path, text=str(line))))["command text"]
        assert (found.state, found.words) == ("fine", "its program is there; it was not run")
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(os.name != "posix", reason="a POSIX shell's scripts")
def test_a_script_that_cannot_be_started_gets_a_sentence(tmp_path):
    put(tmp_path, **{"text.sh": "# BEAR_CHECK\nexit 0\n"})
    (tmp_path / "text.sh").chmod(0o755)
    found = by_name(alert_checks.check_commands(with_alerts(tmp_path, text=f"{tmp_path}/text.sh")))["command text"]
    assert (found.state, found.todo) == ("broken", "begin it with #!/bin/sh")
    (tmp_path / "text.sh").write_text("#!/nope/sh\n# BEAR_CHECK\n")
    found = by_name(alert_checks.check_commands(with_alerts(tmp_path, text=f"{tmp_path}/text.sh")))["command text"]
    assert "its first line names a program that is not there" in found.words


def test_an_sms_service_needs_the_internet(tmp_path):
    url = f"clickatell://{'a' * 32}/15555550100"
    assert "docs/sms.md" in by_name(alert_checks.check_people(with_alerts(tmp_path, notify=(url,))))["notify"].words
    from apprise import Apprise

    known = {name for each in Apprise().details()["schemas"] for kind in ("protocols", "secure_protocols")
             for name in each[kind] or ()}  # fmt: skip
    assert known >= alert_checks.SMS_SERVICES
    other = {"dingtalk", "gupshup", "whapi", "threema", "awswhatsapp", "whatsapp", "evolution", "evolutions", "signal"}
    other |= {"signals", "smseagle", "smseagles"}  # chats, and a gateway in the house
    phones = {name for each in Apprise().details()["schemas"] for kind in ("protocols", "secure_protocols")
              for name in each[kind] or () if any("phone" in token for token in each["details"]["tokens"])}  # fmt: skip
    assert phones - other <= alert_checks.SMS_SERVICES


def test_a_broker_that_is_away_is_a_doubt(tmp_path):
    with refusing_port() as port:
        mqtt = settings_from_url(f"mqtt://bob:sekret@127.0.0.1:{port}")
        (found,) = alert_checks.check_mqtt(with_alerts(tmp_path, mqtt=mqtt))
    assert found.state == "doubt"
    assert "nothing listens there" in found.words
    assert "sekret" not in str(found)


@pytest.mark.needs_tool("mosquitto")
def test_a_real_broker_lets_us_in_and_hears_nothing(tmp_path):
    with Broker(tmp_path) as broker, Listener(broker) as listener:
        mqtt = settings_from_url(broker.url)
        (found,) = alert_checks.check_mqtt(with_alerts(tmp_path, mqtt=mqtt))
        assert found.state == "fine"
        assert listener.got == []


@pytest.mark.needs_tool("mosquitto", "mosquitto_passwd")
def test_a_wrong_password_is_no_matter_of_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr(alert_checks, "WITHIN_S", 3.0)
    with Broker(tmp_path, user="bob", password="right") as broker:
        mqtt = settings_from_url(broker.url.replace("right", "wrongone"))
        (found,) = alert_checks.check_mqtt(with_alerts(tmp_path, mqtt=mqtt))
        assert found.state == "broken"
        assert "refuses the user or the password" in found.words
        assert "wrongone" not in str(found)


def test_a_webhook_and_a_heartbeat_answer_and_nothing_is_posted(tmp_path):
    with PostBox() as box:
        url = f"http://127.0.0.1:{box.port}/hook/secretpath"
        settings = Settings(alerts=AlertSettings(webhook=url), health=HealthSettings(heartbeat_url=url))
        target = device(tmp_path, settings=settings)
        found = by_name((*alert_checks.check_webhook(target), *alert_checks.check_heartbeat(target)))
        assert {each.state for each in found.values()} == {"fine"}
        assert "secretpath" not in str(found)
        assert box.posted == []
    found = by_name((*alert_checks.check_webhook(target), *alert_checks.check_heartbeat(target)))
    assert {each.state for each in found.values()} == {"doubt"}
    assert "secretpath" not in str(found)
    (wrong,) = alert_checks.check_webhook(with_alerts(tmp_path, webhook="ftp://host/x"))
    assert wrong.state == "broken"


def test_a_heartbeat_that_watch_would_refuse_is_broken(tmp_path):
    def beat(url):
        target = device(tmp_path, settings=Settings(health=HealthSettings(heartbeat_url=url)))
        return next(alert_checks.check_heartbeat(target))

    wrong = beat("http://127.0.0.1/a b")
    assert (wrong.state, wrong.todo) == ("broken", "copy it again")
    with refusing_port() as port:
        assert "raise an alarm" in beat(f"http://127.0.0.1:{port}/ping/secretpath").todo


def test_apprise_urls_are_only_read(tmp_path):
    found = by_name(
        alert_checks.check_people(
            with_alerts(tmp_path, notify=("ntfy://topicsekret-0123456", "nonsense://x", "ntfy://bees"))
        )
    )
    assert found["notify 1"].state == "fine"
    assert found["notify 2"].state == "broken"
    assert "knows no such service" in found["notify 2"].words
    assert found["notify 3"].state == "doubt"
    assert "guessed" in found["notify 3"].words
    assert "topicsekret" not in str(found)


def test_a_config_that_notifies_nobody_is_broken(tmp_path):
    (found,) = check_anyone(device(tmp_path, config=tmp_path / "bear-alarm.yml"))
    assert found.state == "broken"
    assert list(check_anyone(with_alerts(tmp_path, sounds=("siren",)))) == []


def stage_of(root, stage, **more):
    """Return the finding on the one camera, whose config has this stage."""
    camera = Camera("yard", "demo", stage=stage, stage_lock=more.pop("locked", False))
    return by_name(alert_checks.check_stages(device(root, settings=Settings(cameras=(camera,), **more))))


def test_a_camera_in_shadow_is_in_doubt_and_one_without_stages_is_nothing(tmp_path):
    found = stage_of(tmp_path, "shadow")["stage yard"]
    assert found.state == "doubt"
    assert found.words.startswith("SHADOW: no bear alarm will reach anyone; you are reminded on")
    assert stage_of(tmp_path, None) == {}


def test_the_journal_goes_before_the_config_and_one_of_before_stages_is_autonomous(tmp_path):
    state = StateFolder(tmp_path / "state")
    write_stage(state.folder, StageEntry("yard", "supervised", datetime.now(UTC), 0, "moved", "", "", "demo", "shadow"))
    assert stage_of(tmp_path, "shadow")["stage yard"].words.startswith("supervised: ")
    state.sql("DROP TABLE stages")
    state.sql("PRAGMA user_version = 2")
    state.event("ab" * 16, "new")
    found = stage_of(tmp_path, "", locked=True)["stage yard"]
    assert (found.state, found.words) == (
        "fine",
        "autonomous: alarms and noises at once; the alarm itself never takes it away (stage_lock)",
    )
    state.path.write_bytes(b"no journal" * 1000)
    assert stage_of(tmp_path, "shadow")["stage yard"].state == "unknown"


def test_a_new_line_in_the_config_or_a_new_name_counts_as_it_will_at_the_start(tmp_path):
    state = StateFolder(tmp_path / "state")
    entry = StageEntry("garden", "supervised", datetime.now(UTC), 0, "moved", "", "", "demo", "shadow")
    write_stage(state.folder, entry)
    for stage, words in (("shadow", "supervised: "), ("autonomous", "autonomous: ")):
        found = stage_of(tmp_path, stage)["stage yard"].words
        assert found.startswith(words)
        assert "; from the alarm's next start on" in found
    write_stage(state.folder, replace(entry, camera="yard"))
    assert "next start" not in stage_of(tmp_path, "shadow")["stage yard"].words


@pytest.mark.parametrize(
    ("page", "claimed", "mqtt", "state", "says"),
    [
        ("127.0.0.1:8470", True, "mqtt://127.0.0.1", "doubt", "nobody can answer from another device"),
        ("0.0.0.0:8470", True, None, "fine", "answer on the page"),
        ("0.0.0.0:8470", False, None, "doubt", "nobody can answer from another device"),
        (None, False, "mqtt://u:p@127.0.0.1", "fine", "answer over MQTT"),
        ("0.0.0.0:8470", True, "mqtts://127.0.0.1", "fine", "answer on the page or over MQTT"),
    ],
)
def test_a_supervised_camera_needs_a_way_to_answer(page, claimed, mqtt, state, says, tmp_path):
    if claimed:
        (tmp_path / "state").mkdir()
        accounts = Accounts(tmp_path / "state")
        accounts.claim(accounts.new_claim(), "four words in a row")
    alerts = AlertSettings(mqtt=settings_from_url(mqtt) if mqtt else None)
    found = stage_of(tmp_path, "supervised", alerts=alerts, page=PageSettings(page))["stage yard"]
    assert (found.state, found.words.rpartition("; ")[2]) == (state, says)
    assert "without an answer it sounds after 30 s" in found.words


def test_silence_without_an_answer_is_named(tmp_path):
    found = stage_of(tmp_path, "supervised", stages=StageSettings(unanswered="silence"))["stage yard"]
    assert "it stays SILENT until somebody says yes; nobody can answer" in found.words
    assert found.state == "broken"
