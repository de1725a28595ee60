"""Check every alert without noise or sending: loudspeaker, commands, pins, broker, webhook, people."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import ssl
import stat
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edge.alert.redact import address_of, error_words, scrub, secrets_of, web_address
from edge.cli.doctor.child import run
from edge.cli.doctor.findings import CheckResult, Target, broken, doubt, fine, split_todo, unknown
from edge.errors import OptionError, UnavailableError

if TYPE_CHECKING:
    from edge.alert.gpio import Pin
    from edge.rollout import Standing


WITHIN_S = 8.0  # for an answer over the network
WAITS = "check the network; until then events wait in the journal"
SILENT = "check the network; until then anyone who watches it is right to raise an alarm"
CORRECT = "correct it in the config"
CHECK_VARIABLE = "BEAR_CHECK"  # a script that knows it looks at its modem or radio, and sends nothing
CHECK_S = 20.0
NO_ANSWER = "check its settings, and try it: bear-alarm alert test"
SOUND = "plug it in, see `aplay -l`, and name the output as `aplay -L` has it"


def check_sounds(target: Target) -> Iterator[CheckResult]:
    """Check every sound, with a moment of silence on its loudspeaker."""
    from edge.alert.sound import Sound

    alerts = target.settings.alerts
    for what in alerts.sounds:
        try:
            sound = Sound(what, seconds=alerts.sound_s, device=alerts.sound_device)
        except (OptionError, UnavailableError) as error:
            yield broken(f"sound {what}", *split_todo(str(error), SOUND))
            continue
        try:
            problem = sound.check()
        finally:
            sound.close()
        if problem is None:
            yield fine(f"sound {what}", f"{sound.player} plays; hear it with `bear-alarm alert test --sound {what}`")
        elif target.alarm_runs:
            words, todo = f"{problem}, but an alarm runs here and may have it", "stop the alarm and look again"
            yield unknown(f"sound {what}", words, todo)
        else:
            words, _, todo = problem.rpartition("; ")
            yield broken(f"sound {what}", words or problem, todo if words else SOUND)
    if alerts.deterrent:
        yield _deterrent(alerts.deterrent, alerts.sound_device)


def _deterrent(word: str, device: str | None) -> CheckResult:
    from edge.alert.deterrent import open_deterrent

    try:
        deterrent = open_deterrent(word, device=device)
    except (OptionError, UnavailableError) as error:
        return broken("deterrent", *split_todo(str(error), SOUND))
    try:
        return fine("deterrent", "its sounds can be read" if word != "on" else "it has its own sounds")
    finally:
        deterrent.close()


def check_commands(target: Target) -> Iterator[CheckResult]:
    """Check that the first word of a command can be run; a script for texts looks at its modem or radio itself."""
    from edge.alert.local_sinks import command_in_doubt

    alerts = target.settings.alerts
    for name, line in (("on_alarm", alerts.on_alarm), ("on_trouble", alerts.on_trouble), ("text", alerts.text)):
        if not line:
            continue
        if doubted := command_in_doubt(line, name):
            what, todo = split_todo(doubted.removeprefix(f"{name}: "), CORRECT)
            yield broken(f"command {name}", what, todo)
        elif name == "text" and (words := _words_of_script(line)):
            yield _looked_at(words)
        else:
            yield fine(f"command {name}", "its program is there; it was not run")
    events = alerts.events
    if events and events != "-":
        yield _line_file(Path(events).expanduser())


def _words_of_script(line: str) -> list[str] | None:
    """Return the words of a command line whose script can check itself; None where it cannot, or is more than one.

    Root runs no script that others may write.
    """
    from edge.alert.local_sinks import SHELL_SIGNS

    try:
        first, *more = shlex.split(line)
        found = shutil.which(Path(first).expanduser())
        if os.name != "posix" or not found or SHELL_SIGNS & set("".join(more)):
            return None
        script = Path(found)
        kept = script.stat()
        if os.geteuid() == 0 and (kept.st_uid or kept.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
            return None
        return [found, *more] if CHECK_VARIABLE.encode() in script.read_bytes() else None
    except (ValueError, OSError):
        return None


def _looked_at(words: list[str]) -> CheckResult:
    """Have the script check its modem or radio, which sends nothing; it says in one line what it found."""
    try:
        ended = run(words, CHECK_S, more={CHECK_VARIABLE: "1"})
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        why = "its first line names a program that is not there" if missing else error.strerror
        return broken("command text", f"{words[0]} cannot be started ({why})", "begin it with #!/bin/sh")
    said = next(iter(ended.out.decode(errors="replace").strip().splitlines()), ended.last)
    if ended.code == 0:
        return fine("command text", f"{said or 'its own check finds nothing wrong'}; nothing was sent")
    return broken("command text", *split_todo(said if ended.code and said else f"its check {ended.why}", NO_ANSWER))


def _line_file(path: Path) -> CheckResult:
    if path.is_dir():
        return broken("events", f"{path} is a folder, not a file", "name a file in it")
    place = path if path.exists() else path.parent
    if os.access(place, os.W_OK):
        return fine("events", f"{path} can be written")
    return doubt("events", f"{path} cannot be written by this user", "make its folder, or change its owner")


def check_mqtt(target: Target) -> Iterator[CheckResult]:
    """Connect to the broker under a name of its own, and leave; the alarm's own connection is not disturbed."""
    settings = target.settings.alerts.mqtt
    if settings is None:
        return
    from edge.alert.mqtt_connection import BrokerConnection, unreachable

    name = f"mqtt {settings.where}"
    try:
        socket.create_connection((settings.host, settings.port), WITHIN_S).close()
    except OSError as error:
        yield doubt(name, *split_todo(unreachable(settings.where, error, tls=False), NO_ANSWER))
        return
    called = threading.Event()
    try:
        settings.tls_context()
        connection = BrokerConnection(settings, f"bear-alarm-doctor-{uuid.uuid4().hex[:6]}", called.set)
    except (OptionError, UnavailableError) as error:
        yield broken(name, *split_todo(str(error), NO_ANSWER))
        return
    until = time.monotonic() + WITHIN_S
    connection.tend()
    while not connection.up and time.monotonic() < until:  # an older broker refuses once, and is asked again its way
        if called.wait(0.05):
            called.clear()
            connection.tend()
    up, problem = connection.up, connection.problem
    connection.close(1.0)
    if up:
        yield fine(name, "the broker is there and accepts the login")
    elif problem:
        yield broken(name, problem, "correct it in the config, or at the broker")
    else:
        yield doubt(name, f"the broker took the connection and did not answer for {WITHIN_S:g} s", WAITS)


def check_webhook(target: Target) -> Iterator[CheckResult]:
    """Check that the host of the webhook has an address and answers; nothing is posted."""
    url = target.settings.alerts.webhook
    if not url:
        return
    from edge.alert.webhook import Webhook

    try:
        Webhook(url, secret=target.settings.alerts.webhook_secret)
    except OptionError as error:
        yield broken("webhook", *split_todo(str(error), NO_ANSWER))
        return
    yield _answers("webhook", url, WAITS)


def check_heartbeat(target: Target) -> Iterator[CheckResult]:
    """Check that the host of the heartbeat has an address and answers."""
    url = target.settings.health.heartbeat_url
    if not url:
        return
    try:
        web_address(url, "the heartbeat")
    except OptionError as error:
        yield broken("heartbeat", *split_todo(str(error), NO_ANSWER))
    else:
        yield _answers("heartbeat", url, SILENT)


# Of Apprise's list "SMS Notifications", those that send SMS and are no gateway in the house (as SMSEagle is), and what
# the list lacks. Apprise itself does not say of a service whether it sends SMS.
_SMS = """
46elks eight00com atalk sns bulksms bulkvs clickatell clicksend cm d7sms exotel freemobile httpsms infobip kaleyra
klr kavenegar burstsms kudosity msgbird mobilemessage mobilemsg msg91 octopush plivo ringc serwersms seven sfr sinch
smsmgr smsmanager smsc smstunnel telesign telnyx notifyre twilio voipms vonage nexmo elks
"""
SMS_SERVICES = frozenset(_SMS.split())


def check_people(target: Target) -> Iterator[CheckResult]:
    """Check that Apprise can use every URL; nothing is sent."""
    urls = target.settings.alerts.notify
    for number, url in enumerate(urls, 1):
        from edge.alert.notify import Notify, guessable

        name = "notify" if len(urls) == 1 else f"notify {number}"
        try:
            Notify(url)
        except (OptionError, UnavailableError) as error:
            yield broken(name, *split_todo(str(error), NO_ANSWER))
            continue
        if doubted := guessable(url):
            yield doubt(name, *split_todo(doubted, NO_ANSWER))
        else:
            scheme = address_of(url).partition("://")[0]
            words = f"{scheme}:// is understood; try it with `bear-alarm alert test --notify …`"
            online = "; this SMS service is on the internet: without that at this device, take a modem (docs/sms.md)"
            yield fine(name, words + (online if scheme in SMS_SERVICES else ""))


def _answers(name: str, url: str, away: str) -> CheckResult:
    """Connect to a URL's host and port, and check its certificate where it should have one.

    ``away``: what to do where nothing answers.
    """
    where = address_of(url)
    try:
        to = web_address(url, f"the {name}")
        with socket.create_connection((to.host, to.port), WITHIN_S) as opened:
            if to.tls:
                ssl.create_default_context().wrap_socket(opened, server_hostname=to.host).close()
    except OptionError as error:
        return broken(name, *split_todo(str(error), CORRECT))
    except ssl.SSLCertVerificationError as error:
        words = f"{where}: its certificate is not trusted ({error.verify_message})"
        return broken(name, words, "check this machine's clock, then the certificate")
    except OSError as error:
        return doubt(name, f"{where} cannot be reached ({scrub(error_words(error), secrets_of(url))})", away)
    return fine(name, f"{where} answers; nothing was sent")


def check_stages(target: Target) -> Iterator[CheckResult]:
    """Check whom each camera's alarms reach, and that a supervised one can be answered."""
    from edge.decide.stages import Tally, at_start, begin
    from edge.record.database import DiskError
    from edge.record.stage_log import read_stages, watched_before
    from edge.rollout import place_of, standing_of

    now = datetime.now(UTC)
    places = {each.name: place_of(each, "") for each in target.settings.cameras if each.stage is not None}
    for place in places.values():
        name = f"stage {place.name}"
        try:
            state = target.state
            entries = at_start(place, read_stages(state), places, datetime.now(UTC))
            move = None if entries else begin([], place, now, 0, watched_before=watched_before(state, place.name))
        except (DiskError, PermissionError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            yield unknown(
                name, f"the journal cannot be read ({why})", "sudo bear-alarm doctor, where it is another user's"
            )
            continue
        except OptionError:
            return  # the check of the disk has reported it
        standing = standing_of(
            entries or ([move.entry] if move else []), place, Tally(), target.settings.stages.goal, now
        )
        yield _stage(name, standing, target)


def _stage(name: str, one: Standing, target: Target) -> CheckResult:
    from edge.cli.stage import FROM_START
    from edge.decide.stages import NOT_YET

    settings = target.settings
    words = one.words + ("; the alarm itself never takes it away (stage_lock)" if one.locked else "")
    words += f"; {FROM_START}" if one.entry.after == NOT_YET else ""
    if one.entry.stage == "shadow":
        todo = f"review what it records (bear-alarm events --unreviewed), then: bear-alarm stage {one.entry.camera}"
        return doubt(name, words, todo)
    if one.entry.stage == "autonomous":
        return fine(name, words)
    mqtt, page = settings.alerts.mqtt, settings.page
    here = page.listen and _claimed(target)
    ways = ["on the page"] if here and (page.names or not page.loopback) else []
    ways += ["over MQTT"] if mqtt and (mqtt.user or mqtt.tls) else []
    words += f"; {settings.stages.unanswered_words}"
    if ways:
        return fine(name, f"{words}; answer {' or '.join(ways)}")
    todo = "let phones reach the page (`page: 0.0.0.0:8470`) and claim it, or give MQTT a user or TLS"
    if settings.stages.unanswered == "silence" and not here:
        return broken(name, f"{words}; nobody can answer, so no bear makes a noise", todo)
    return doubt(name, f"{words}; nobody can answer from another device", todo)


def _claimed(target: Target) -> bool:
    """Return True if the page has an owner; False where that cannot be read, which its own check reports."""
    from edge.page.accounts import Accounts

    try:
        return Accounts(target.state).claimed
    except OptionError:
        return False


# Pins of relays and lamps: whether the kernel has them, and free. None is switched.


FACTORY_VARIABLE = "GPIOZERO_PIN_FACTORY"
# Pins are asked of the kernel (linux/gpio.h, version 2), which switches and claims nothing; gpiozero would make the pin
# an output to find out.
GET_CHIP, CHIP_BYTES = 0x8044B401, 68  # GPIO_GET_CHIPINFO_IOCTL: name[32], label[32], lines
GET_LINE, LINE_BYTES = 0xC100B405, 256  # GPIO_V2_GET_LINEINFO_IOCTL: name[32], consumer[32], offset, attributes, flags
USED = 1
LORA_S = 40.0  # longer than the 30 s between two messages of the node, so that each alarm is one
HEADER = "pinctrl-"  # how the chip with the header's pins is labelled: pinctrl-bcm2711, pinctrl-rp1


def check_pins(target: Target) -> Iterator[CheckResult]:
    """Check that the pin of every relay and lamp is there and free."""
    alerts = target.settings.alerts
    wanted = [("relay", words) for words in alerts.relays] + [("lamp", words) for words in alerts.deterrent_lamps]
    if not wanted:
        return
    from edge.alert.gpio import parse_pin

    factory = os.environ.get(FACTORY_VARIABLE)
    if factory:
        yield doubt("pins", f"{FACTORY_VARIABLE} is {factory!r}, so perhaps no real pin is switched", "unset it")
    try:
        chip = header(target.root)
    except PermissionError:
        yield broken("pins", "this user may not use them", "sudo usermod -aG gpio $USER, then log out and in again")
        return
    if chip is None:
        yield broken("pins", "this machine has none that could be switched", "take the relays out of the config")
        return
    for kind, words in wanted:
        name = f"{kind} {words}"
        try:
            pin = parse_pin(words, kind)
            user = user_of(chip, pin.number)
        except OptionError as error:
            yield broken(name, *split_todo(str(error), "correct it in the config"))
        except OSError as error:
            yield broken(name, f"there is no such pin on {chip.name} ({error.strerror})", "correct it in the config")
        else:
            yield _pin(target, name, pin, user)


def _pin(target: Target, name: str, pin: Pin, user: str | None) -> CheckResult:
    number = pin.number
    lora = (
        f"; for a LoRa node's Detection Sensor it must be on for {LORA_S:g} s, as in {number}:{LORA_S:g} (docs/lora.md)"
    )
    hint = lora if name.startswith("relay") and pin.seconds < LORA_S else ""
    if user is None:
        return fine(name, f"pin {number} is there and free; it was not switched{hint}")
    if target.alarm_runs:
        words = f"pin {number} is in use, by the running alarm as it seems ({user or 'no name'})"
        return fine(name, words + hint)
    todo = "end the other program, or take another pin (see `pinout` and `gpioinfo`)"
    return broken(name, f"pin {number} is in use by another program ({user or 'no name'})", todo)


def header(root: Path) -> Path | None:
    """Find the device of the chip that has the header's pins; None where there is none. Raises OSError."""
    for path in sorted((root / "dev").glob("gpiochip*")):
        answer = _asked(path, GET_CHIP, bytearray(CHIP_BYTES))
        if _text(answer[32:64]).startswith(HEADER):
            return path
    return None


def user_of(chip: Path, number: int) -> str | None:
    """Ask who uses a pin, by its BCM number, as that program calls itself; None: it is free. Raises OSError."""
    question = bytearray(LINE_BYTES)
    struct.pack_into("=I", question, 64, number)
    answer = _asked(chip, GET_LINE, question)
    (flags,) = struct.unpack_from("=Q", answer, 72)
    return _text(answer[32:64]) if flags & USED else None


def _asked(path: Path, what: int, question: bytearray) -> bytearray:
    import fcntl  # there is none on Windows, which has no pins

    file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        fcntl.ioctl(file, what, question)
    finally:
        os.close(file)
    return question


def _text(data: bytearray) -> str:
    return bytes(data).partition(b"\0")[0].decode(errors="replace")
