"""What the alarm knows of itself: the machine, the model's answers, and who may ask for both."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge.detect.classifier import Classifier
from edge.device.health import ThermalThrottle, parts
from edge.device.model_self_test import ModelSelfTest
from edge.device.sensors import Board, Reading
from edge.device.telemetry import PART, Heartbeat, Server
from edge.settings import HealthSettings
from edge.status import Ask, Status

log = logging.getLogger(__name__)

LOOK_S = 5.0  # how often the machine is read


class SelfMonitor:
    """Reads the machine every 5 s, has the model answer every 20 s, and answers requests for its status.

    Only for cameras: what is played is over soon. ``status`` is the whole alarm's; ``root``: where ``sys`` and
    ``proc`` are. ``before``: of the alarm before a reload; a processor that was hot stays throttled. Raises OptionError
    for an address or URL that can never work.
    """

    def __init__(
        self,
        settings: HealthSettings,
        state: Path | None,
        classifier: Callable[[], Classifier],
        status: Callable[[], Status],
        *,
        root: Path = Path("/"),
        before: SelfMonitor | None = None,
    ) -> None:
        self.reading = Reading()
        self._board = Board(root, state)
        self._effort: ThermalThrottle = before._effort if before else ThermalThrottle()
        self._effort.hot_c = settings.hot_c
        self._machine = parts(
            lambda: self.reading,
            settings,
            state=state,
            share=self.share,
            crop_ms=lambda: status().crop_ms,
        )
        self._looked: float | None = None
        self._self_test = ModelSelfTest(classifier)
        self._heartbeat: Heartbeat | None = None
        self._server = Server(settings.listen, status) if settings.listen else None
        try:
            if settings.heartbeat_url:
                self._heartbeat = Heartbeat(settings.heartbeat_url, settings.heartbeat_s, status)
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Begin to test the model."""
        self._self_test.start()

    def share(self) -> float:
        """Return the share of the set frame rates that is kept up in heat and at low voltage."""
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
        """Return the status with the readings of the machine and the model."""
        return replace(
            status,
            inference_age_s=self._self_test.age_s(now),
            fps_share=self._effort.share,
            temperature_c=self.reading.temperature_c,
            undervolted=self.reading.undervolted,
            disk_free_mb=self.reading.disk_free_mb,
        )

    def parts(self) -> dict[str, Ask]:
        """Return whom health asks, by the event's label."""
        found = dict(self._machine)
        found["model"] = self._self_test.problem
        if self._server:
            found["page"] = self._server.problem
        if self._heartbeat:
            found[PART] = self._heartbeat.problem
        return found

    def close(self) -> None:
        """Stop all of it."""
        self._self_test.close()
        if self._server:
            self._server.close()
        if self._heartbeat:
            self._heartbeat.close()
