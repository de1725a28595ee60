"""How the alarm itself is: the machine, the model's heartbeat, and who asks from outside."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.device.health import Effort, parts
from edge.device.sensors import Board, Reading
from edge.device.telemetry import PART, Heartbeat, Server
from edge.device.watchdog import Pulse
from edge.settings import HealthSettings, parse_listen
from edge.status import Status

if TYPE_CHECKING:
    from edge.detect.classifier import Classifier
    from edge.status import Ask

log = logging.getLogger(__name__)

LOOK_S = 5.0  # as often as the machine is read


class Condition:
    """Reads the machine every 5 s, has the model answer every 20 s, and answers whoever may ask.

    Only for cameras: what is played is over soon. ``status`` is the whole alarm's; ``root``: where ``sys`` and
    ``proc`` lie. Raises OptionError for an address or URL that cannot be meant.
    """

    def __init__(
        self,
        settings: HealthSettings,
        state: Path | None,
        classifier: Callable[[], Classifier],
        status: Callable[[], Status],
        *,
        root: Path = Path("/"),
    ) -> None:
        self.settings = settings
        self.reading = Reading()
        self._state = state
        self._status = status
        self._board = Board(root, state)
        self._effort = Effort(settings.hot_c)
        self._machine = self._made_parts(settings)
        self._looked: float | None = None
        self._pulse = Pulse(classifier)
        self._heartbeat: Heartbeat | None = None
        self._server = _server(settings, status)
        try:
            self._heartbeat = _heartbeat(settings, status)
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Begin with the model's heartbeat."""
        self._pulse.start()

    def share(self) -> float:
        """Of the frame rates that are set: what is kept up in heat and at low voltage."""
        return self._effort.share

    def tick(self, now: float) -> None:
        """Call it often; ``now``: time.monotonic()."""
        if self._looked is None or now - self._looked >= LOOK_S:
            self._looked = now
            self.reading = self._board.read(now)
            before = self._effort.share
            if self._effort(self.reading, now) != before:
                log.warning("%s", self._effort.why or "all frames are looked at again")

    def add_to(self, status: Status, now: float) -> Status:
        """The status with what is known here."""
        return replace(
            status,
            inference_age_s=self._pulse.age_s(now),
            fps_share=self._effort.share,
            temperature_c=self.reading.temperature_c,
            undervolted=self.reading.undervolted,
            disk_free_mb=self.reading.disk_free_mb,
        )

    def parts(self) -> dict[str, Ask]:
        """Whom health is to ask, by the event's label."""
        found = dict(self._machine)
        found["model"] = self._pulse.problem
        if self._server:
            found["page"] = self._server.problem
        if self._heartbeat:
            found[PART] = self._heartbeat.problem
        return found

    def change(self, settings: HealthSettings) -> tuple[Callable[[], None], Callable[[], None]]:
        """Go on with other settings once the first of these is called, which cannot fail; or not: the second.

        Raises OptionError.
        """
        before, heartbeat = self.settings, self._heartbeat
        if settings.listen:
            parse_listen(settings.listen)
        beats = (settings.heartbeat_url, settings.heartbeat_s) != (before.heartbeat_url, before.heartbeat_s)
        if beats:
            heartbeat = _heartbeat(settings, self._status)

        def apply() -> None:
            old = self._heartbeat if beats else None
            if settings != before:  # they remember: dips of the voltage, the errors that were there at the start
                self._machine = self._made_parts(settings)
            if settings.listen != before.listen:  # the one before goes first: both may want the same port
                if self._server:
                    self._server.close()
                self._server = _server(settings, self._status)
            self._heartbeat, self.settings = heartbeat, settings
            self._effort.hot_c = settings.hot_c
            if old:
                old.close()

        def drop() -> None:
            if beats and heartbeat:
                heartbeat.close()

        return apply, drop

    def _made_parts(self, settings: HealthSettings) -> dict[str, Ask]:
        return parts(
            lambda: self.reading,
            settings,
            state=self._state,
            share=self.share,
            crop_ms=lambda: self._status().crop_ms,
        )

    def close(self) -> None:
        """No more of it."""
        self._pulse.close()
        if self._server:
            self._server.close()
        if self._heartbeat:
            self._heartbeat.close()


def _server(settings: HealthSettings, status: Callable[[], Status]) -> Server | None:
    return Server(settings.listen, status) if settings.listen else None


def _heartbeat(settings: HealthSettings, status: Callable[[], Status]) -> Heartbeat | None:
    return Heartbeat(settings.heartbeat_url, settings.heartbeat_s, status) if settings.heartbeat_url else None
