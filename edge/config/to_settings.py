"""Make ``edge.settings.Settings`` of a config: what has the same name in both, and what has another."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from edge.alert.mqtt_settings import PORTS, MqttSettings
from edge.config.schema import CameraSection, Config, Looking, Section
from edge.detect.zones import Zone
from edge.settings import AlertSettings, Camera, CameraSettings, EvidenceSettings, HealthSettings, Settings

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Made = TypeVar("Made", bound="DataclassInstance")  # one of edge.settings


def settings_of(config: Config) -> Settings:
    """Return everything ``watch`` runs on; a camera that is missing at the start is down, and tried again."""
    record, heartbeat = config.record, config.health.heartbeat
    watched = [(name, camera) for name, camera in config.cameras.items() if camera.enabled]
    return _made(
        Settings,
        config,
        cameras=tuple(_camera(name, camera, config.detect) for name, camera in watched),
        alerts=_alerts(config),
        evidence=_made(EvidenceSettings, record, keep=record.enabled, folder=record.path, full=record.full_frame),
        health=_made(HealthSettings, config.health, heartbeat_url=heartbeat.url, heartbeat_s=heartbeat.every_s),
        waits=True,
    )


def _made(kind: type[Made], section: Section, **others: Any) -> Made:
    """Make settings of a section: what is called the same in both, and the others."""
    same = {each.name for each in fields(kind)} & type(section).model_fields.keys()
    return kind(**{name: getattr(section, name) for name in same} | others)


def _camera(name: str, camera: CameraSection, usual: Looking) -> Camera:
    own = {key: value for key in Looking.model_fields if (value := getattr(camera, key)) is not None}
    zones = tuple(Zone(zone, corners) for zone, corners in camera.zones.items())
    settings = _made(CameraSettings, usual, masks=camera.motion.mask, zones=zones, **own)
    return _made(Camera, camera, name=name, settings=settings)


def _alerts(config: Config) -> AlertSettings:
    mqtt = config.mqtt
    usual_port = PORTS["mqtts" if mqtt and mqtt.tls else "mqtt"]
    return _made(
        AlertSettings,
        config,
        sounds=config.sound.play,
        sound_s=config.sound.seconds,
        sound_device=config.sound.device,
        relays=tuple(pin.words for pin in config.relay),
        deterrent=config.deterrent.play,
        deterrent_lamps=tuple(pin.words for pin in config.deterrent.lamps),
        deterrent_hours=config.deterrent.hours,
        on_alarm=config.command.on_alarm,
        on_trouble=config.command.on_trouble,
        mqtt=mqtt and _made(MqttSettings, mqtt, port=usual_port if mqtt.port is None else mqtt.port),
        webhook=config.webhook.url,
        webhook_secret=config.webhook.secret,
    )
