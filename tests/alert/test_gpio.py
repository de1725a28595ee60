"""Relays and lamps on a Raspberry Pi's pins, on gpiozero's pins for tests: on at an alarm, and never left on."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.alert.gpio import BLINK, Gpio, Pin, parse_pin
from edge.background import in_background
from edge.errors import MissingExtraError, OptionError, UnavailableError
from edge.installing import extra
from tests.helpers.sink_world import event, soon

ROOT = Path(__file__).parents[2]


def states(pins, number):
    """Return how the pin went, from its beginning."""
    return [bool(state.state) for state in pins.pin(number).states]


@pytest.mark.parametrize("active_high", [True, False])
def test_it_is_off_from_the_start_on_for_its_time_and_off_again(pins, active_high):
    pin = pins.pin(17)
    pin.drive_high()  # as something else has left it
    relay = Gpio(17, seconds=0.2, active_high=active_high)
    assert pin.function == "output"
    assert pin.state != active_high
    assert not relay.on
    relay(event("end"))
    relay(event(kind="camera"))
    assert not relay.on
    started = time.monotonic()
    relay(event())
    assert soon(lambda: not relay.on)
    assert time.monotonic() - started >= 0.2
    assert pin.state != active_high
    assert states(pins, 17)[-3:] == [not active_high, active_high, not active_high]
    relay.seconds = 20.0
    relay(event())
    assert relay.on
    assert pin.state == active_high
    relay.close()
    relay.close()
    assert pin.function == "input"


def test_a_test_is_short_and_does_not_end_what_a_bear_began(pins, monkeypatch):
    monkeypatch.setattr("edge.alert.gpio.TEST_S", 0.1)
    relay = Gpio(17, seconds=20.0)
    relay(event(kind="test"))
    assert soon(lambda: not relay.on)
    assert states(pins, 17) == [False, True, False]
    relay(event())
    relay(event(kind="test"))
    time.sleep(0.3)
    assert relay.on
    relay.close()


def test_a_second_alarm_makes_it_stay_on_for_longer(pins):
    relay = Gpio(17, seconds=1.5)
    started = time.monotonic()
    relay(event())
    time.sleep(0.2)
    again = time.monotonic()
    relay(event(seq=2))
    assert soon(lambda: not relay.on)
    assert time.monotonic() - started >= 1.5 + (again - started) - 0.05
    assert states(pins, 17) == [False, True, False]
    relay.close()


def test_it_does_not_hold_up_its_worker(pins):
    relay = Gpio(17, seconds=60.0)
    worker = in_background(relay, "--relay 17", deadline_s=5.0, at_end=relay.close)
    for seq in range(5):
        worker(event(seq=seq))
    assert soon(lambda: worker.done == 5)
    assert relay.on
    assert worker.close(20.0)
    assert states(pins, 17) == [False, True, False]


def test_a_lamp_blinks_and_ends_dark(pins):
    lamp = Gpio(27, seconds=0.5, pulse=(0.05, 0.05))
    lamp(event())
    assert soon(lambda: states(pins, 27).count(True) >= 3)
    assert soon(lambda: not lamp._thread.going)
    assert states(pins, 27)[-1] is False
    lamp.start(60.0)
    assert lamp.on
    lamp.stop()
    assert not lamp.on
    lamp.close()


def test_a_pin_that_fails_is_an_error_of_the_caller(pins, monkeypatch):
    relay = Gpio(17, seconds=0.2)

    def fails():
        raise OSError("GPIO busy")

    monkeypatch.setattr(relay._device, "on", fails)
    with pytest.raises(OSError, match="GPIO busy"):
        relay(event())
    monkeypatch.undo()
    relay.close()


def test_a_pin_used_twice_is_one_sentence(pins):
    relay = Gpio(17)
    with pytest.raises(UnavailableError, match=r"pin 17 cannot be used .*already in use.*; is it used twice"):
        Gpio(17)
    relay.close()
    Gpio(17).close()


PROGRAM = """
import atexit, os, signal, sys, time
from pathlib import Path
from gpiozero import Device
pin = []
# Registered first, so it is called last: what the pin was like after everything had ended.
atexit.register(lambda: print([bool(s.state) for s in pin[0].states], pin[0].function, flush=True))
from edge.cli.watch.signals import stop_on_signal
from edge.schema import Event
from edge.alert.gpio import Gpio
relay = Gpio(17, seconds=60.0)
pin.append(Device.pin_factory.pin(17))
with stop_on_signal() as stop:
    relay(Event("bear", "new", "id", 1, "run", "yard", "2026-01-01T00:00:00.000Z"))
    print("on" if relay.on else "off", Path(os.environ["LG_WD"]).is_dir(), os.environ["LG_WD"], flush=True)
    if sys.argv[1] == "raise":
        raise SystemExit("a fault of ours")
    stop.wait(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
@pytest.mark.parametrize("end", ["SIGTERM", "SIGINT", "raise"])
def test_it_is_off_however_the_program_ends_short_of_a_kill(end):
    import signal

    env = os.environ | {"PYTHONPATH": str(ROOT), "GPIOZERO_PIN_FACTORY": "mock"}
    env.pop("LG_WD", None)
    words = [sys.executable, "-c", PROGRAM, end]
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        state, made, folder = process.stdout.readline().split()
        assert (state, made) == ("on", "True")
        if end != "raise":
            process.send_signal(signal.Signals[end])
        assert process.stdout.read() == "[False, True, False] input\n"
        process.wait(20.0)
    assert not Path(folder).exists()


FAKE_LGPIO = """
# Does what the real one does when it is imported: moves to LG_WD, and makes a pipe there.
import os
SET_PULL_NONE = SET_BIAS_DISABLE = SET_PULL_UP = SET_PULL_DOWN = BOTH_EDGES = RISING_EDGE = FALLING_EDGE = 0
os.chdir(os.environ["LG_WD"])
open("pipe", "w").close()
class error(Exception):
    pass
def gpiochip_open(chip):
    raise error("can not open gpiochip")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="lgpio is of Linux")
@pytest.mark.parametrize("own", [None, "own"])
def test_lgpio_has_a_folder_to_write_in_and_the_programs_stays_where_it_was(tmp_path, own):
    (tmp_path / "lgpio.py").write_text(FAKE_LGPIO)
    here = tmp_path / "here"
    here.mkdir()
    code = """
import os
from edge.errors import UnavailableError
from edge.alert.gpio import Gpio
try:
    Gpio(17)
except UnavailableError as error:
    print(error)
print(os.getcwd())
print(os.environ["LG_WD"], os.listdir(os.environ["LG_WD"]))
"""
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "TMPDIR": str(tmp_path)}
    for name in ("GPIOZERO_PIN_FACTORY", "RUNTIME_DIRECTORY", "LG_WD"):
        env.pop(name, None)
    if own:
        (tmp_path / own).mkdir()
        env["LG_WD"] = str(tmp_path / own)
    words = [sys.executable, "-c", code]
    ran = subprocess.run(words, cwd=here, env=env, capture_output=True, text=True, check=False, timeout=60)
    sentence, where, folder = ran.stdout.splitlines()
    assert sentence.startswith("pin 17: this machine has no pins that can be used (")
    assert "group gpio" in sentence
    assert Path(where) == here
    assert not list(here.iterdir())
    path, found = folder.split(" ", 1)
    assert found == "['pipe']"
    assert Path(path).parent == tmp_path
    assert Path(path).exists() == bool(own)


def test_without_gpiozero_it_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "gpiozero", None)
    with pytest.raises(MissingExtraError, match=re.escape(extra("pi"))):
        Gpio(17)


@pytest.mark.parametrize(
    ("words", "pin"),
    [
        ("17", Pin(17, 10.0)),
        ("0:0.5", Pin(0, 0.5)),
        ("27:30", Pin(27, 30.0)),
        (" 17 : 30 : LOW ", Pin(17, 30.0, active_high=False)),
        ("17:low", Pin(17, 10.0, active_high=False)),
        ("17:blink:5:low", Pin(17, 5.0, active_high=False, pulse=BLINK)),
    ],
)
def test_pins_are_read_from_words(words, pin):
    assert parse_pin(words, "--relay") == pin


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", "--light: '' is no pin; write its BCM number, 0 to 27"),
        ("28", "'28' is no pin"),
        ("-3", "'-3' is no pin"),
        ("GPIO17", "'gpio17' is no pin; .* .GPIO17 is 17."),
        ("17:", "'' is no number of seconds"),
        ("17:soon", "'soon' is no number of seconds; write PIN, PIN:SECONDS"),
        ("17:0", "0 s is not between 0.1 and 3600 s"),
        ("17:inf", "inf s is not between"),
        ("17:nan", "nan s is not between"),
        ("17:99999", "99999 s is not between"),
        ("17:30:hi", "'17:30:hi' holds too much; write PIN"),
        ("17:5:6", "'17:5:6' holds too much"),
        ("17:low:low", "holds too much"),
    ],
)
def test_words_that_are_no_pin_are_one_sentence(words, reason):
    with pytest.raises(OptionError, match=reason):
        parse_pin(words, "--light")
