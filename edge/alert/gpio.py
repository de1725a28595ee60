"""``--relay PIN`` and ``--light PIN``: what a Raspberry Pi's pin switches, on at an alarm and never left on."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge.background import StoppableThread
from edge.errors import MissingExtraError, OptionError, UnavailableError
from edge.installing import extra
from edge.schema import TEST_S, Event

log = logging.getLogger(__name__)

ON_S = 10.0  # where no seconds are given
LONGEST_S = 3600.0
TIDY_S = 0.3  # what may be waited for the thread that looks after a pin that is off already
HIGHEST_PIN = 27  # of the 40-pin header, as BCM numbers them
BLINK: Pulse = (0.5, 0.5)
WORDS = "PIN, PIN:SECONDS, and where needed :low or :blink after it, such as 17, 17:30 or 27:60:low:blink"

Pulse = tuple[float, float]  # seconds on, seconds off


@dataclass(frozen=True, slots=True)
class Pin:
    """Pin of one option: its number, how long it stays on, and its polarity."""

    number: int  # as BCM numbers it, 0 to 27
    seconds: float = ON_S
    active_high: bool = True
    pulse: Pulse | None = None  # None: on all the time


def parse_pin(words: str, option: str) -> Pin:
    """Return the pin of '17', '17:30' or '17:30:low:blink'. Raises OptionError that names ``option``."""
    first, *more = (part.strip().lower() for part in words.split(":"))
    if not first.isdecimal() or int(first) > HIGHEST_PIN:
        raise OptionError(
            f"{option}: {first!r} is no pin; write its BCM number, 0 to {HIGHEST_PIN} (GPIO17 is 17), as {WORDS}"
        )
    flags = {word for word in more if word in ("low", "blink")}
    numbers = [word for word in more if word not in flags]
    if len(numbers) + len(flags) < len(more) or len(numbers) > 1:
        raise OptionError(f"{option}: {words!r} holds too much; write {WORDS}")
    try:
        seconds = float(numbers[0]) if numbers else ON_S
    except ValueError:
        raise OptionError(f"{option}: {numbers[0]!r} is no number of seconds; write {WORDS}") from None
    if not 0.1 <= seconds <= LONGEST_S:  # nor is nan
        raise OptionError(f"{option}: {numbers[0]} s is not between 0.1 and {LONGEST_S:g} s")
    return Pin(int(first), seconds, "low" not in flags, BLINK if "blink" in flags else None)


class Gpio:
    """A relay or lamp on a pin: on for ``seconds`` from each alarm on, for ``TEST_S`` at a test; else off.

    Off from the start, when it is closed and when the program ends. An alarm while it is on makes it stay on for
    longer. ``active_high`` False is for boards that switch on when the pin is low. ``pulse`` are seconds on and off in
    turn. A call returns at once. Raises MissingExtraError without gpiozero, and UnavailableError for a pin that cannot
    be had now.
    """

    def __init__(
        self,
        pin: int,
        *,
        seconds: float = ON_S,
        active_high: bool = True,
        pulse: Pulse | None = None,
    ) -> None:
        self.pin = pin
        self.seconds = seconds
        self.pulse = pulse
        reach_pins(pin)
        from gpiozero import OutputDevice

        try:
            self._device = OutputDevice(pin, active_high=active_high, initial_value=False)
        except Exception as error:
            raise UnavailableError(
                f"pin {pin} cannot be used ({error}); is it used twice, or by another program?"
            ) from None
        self._thread = StoppableThread(self._switch, f"pin {pin}")
        self._pulse = pulse
        self._released = threading.Lock()  # taken once
        atexit.register(self.close)

    def wanted(self, event: Event) -> bool:
        """Return True for alarms."""
        return event.alarms

    def __call__(self, event: Event) -> None:
        """Switch on, if this event is wanted."""
        if self.wanted(event):
            self.start(min(self.seconds, TEST_S) if event.kind == "test" else self.seconds, self.pulse)

    @property
    def on(self) -> bool:
        """Return whether it is on now."""
        return bool(self._device.value)

    def start(self, seconds: float, pulse: Pulse | None = None) -> None:
        """On until so many seconds from now, at least. Raises whatever the pin raises when it is switched."""
        self._pulse = pulse
        if not self._thread.going:
            self._device.on()  # here, so that the caller sees a failure
        try:
            self._thread.run_for(seconds)
        except RuntimeError:  # no thread can be started that would switch it off, or it was closed meanwhile
            self._off()
            raise

    def stop(self) -> None:
        """Off, now; the rest takes 0.3 s at most."""
        self._thread.stop()
        self._off()
        self._thread.stop(TIDY_S)
        self._off()

    def close(self) -> None:
        """Off for good, and the pin is released; as ``stop``, from any thread and as often as you like."""
        atexit.unregister(self.close)
        if not self._released.acquire(blocking=False):
            return
        self._thread.close()
        try:
            self._off()
        finally:
            self._thread.stop(TIDY_S)
            self._device.close()  # the pin is an input again, which switches nothing

    def _off(self) -> None:
        if not self._device.closed:
            self._device.off()

    def _switch(self, thread: StoppableThread) -> None:
        try:
            while not thread.over:
                asked, pulse = thread.asked, self._pulse
                self._device.on()
                if pulse is None:
                    thread.wait_for_more(asked)
                elif not thread.wait(pulse[0]):
                    self._device.off()
                    thread.wait(pulse[1])
        finally:
            self._off()


def reach_pins(pin: int) -> None:
    """Find out how this machine's pins are reached; nothing is switched. Raises MissingExtraError, UnavailableError."""
    try:
        with _folder_of_lgpio():
            from gpiozero import Device

            if Device.pin_factory is None and "GPIOZERO_PIN_FACTORY" not in os.environ and sys.platform == "linux":
                # By name: gpiozero would fall back to others one by one, to the last that touches registers.
                from gpiozero.pins.lgpio import LGPIOFactory

                Device.pin_factory = LGPIOFactory()
    except ImportError as error:
        raise MissingExtraError(
            f"pin {pin}: a Raspberry Pi's pins need gpiozero and lgpio ({error}); install them with: {extra('pi')}"
        ) from None
    except Exception as error:  # lgpio has an error of its own, which is no OSError
        raise UnavailableError(
            f"pin {pin}: this machine has no pins that can be used ({error}); on a Raspberry Pi the user must be "
            "in the group gpio, and a service needs DeviceAllow=/dev/gpiochip0"
        ) from None


@contextmanager
def _folder_of_lgpio() -> Iterator[None]:
    """Give lgpio a folder for its pipe, which it else makes in the working folder, where a service may not write.

    It makes that folder the working folder of the whole program when it is imported, which is undone here: do this
    before others work with relative paths.
    """
    here = Path.cwd()
    if "LG_WD" not in os.environ:
        for place in (os.environ.get("RUNTIME_DIRECTORY"), None, "/dev/shm"):  # None: the system's for such files
            try:
                folder = tempfile.mkdtemp(prefix="bear-alarm-lgpio-", dir=place)
            except OSError as error:
                log.debug("no folder for lgpio: %s", error)
                continue
            os.environ["LG_WD"] = folder
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            break
    try:
        yield
    finally:
        os.chdir(here)
