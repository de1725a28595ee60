"""From a checked config to ``edge.settings.Settings``."""

from __future__ import annotations

from edge.alert.mqtt_settings import PORTS
from edge.alert.mqtt_settings import Settings as MqttSettings
from edge.config.shape import Config
from edge.config.shape_alerts import MqttSection
from edge.config.shape_cameras import CameraSection, Looking
from edge.detect.zones import Zone
from edge.settings import AlertSettings, Camera, CameraSettings, EvidenceSettings, HealthSettings, Settings


def settings_of(config: Config) -> Settings:
    """Everything ``watch`` runs on; a camera that is missing at the start is down, and tried again."""
    return Settings(
        cameras=tuple(
            _camera(name, camera, config.detect) for name, camera in config.cameras.items() if camera.enabled
        ),
        alerts=_alerts(config),
        evidence=EvidenceSettings(
            keep=config.record.enabled,
            folder=config.record.path,
            quota_mb=config.record.quota_mb,
            reserve_mb=config.record.reserve_mb,
            negatives_per_day=config.record.negatives_per_day,
            full=config.record.full_frame,
            pre_capture_s=config.record.pre_capture_s,
            post_capture_s=config.record.post_capture_s,
        ),
        health=HealthSettings(
            hot_c=config.health.hot_c,
            low_disk_mb=config.health.low_disk_mb,
            slow_ms=config.health.slow_ms,
            heartbeat_url=config.health.heartbeat.url,
            heartbeat_s=config.health.heartbeat.every_s,
            listen=config.health.listen,
            restart_after_s=config.health.restart_after_s,
            reboot=config.health.reboot,
        ),
        model=config.model,
        state=config.state,
        trace=config.trace,
        waits=True,
    )


def _camera(name: str, camera: CameraSection, usual: Looking) -> Camera:
    return Camera(
        name=name,
        source=camera.source,
        motion_source=camera.motion_source,
        follow=camera.follow,
        settings=CameraSettings(
            masks=camera.motion.mask,
            zones=tuple(Zone(zone, corners) for zone, corners in camera.zones.items()),
            schedule=usual.schedule if camera.schedule is None else camera.schedule,
            fps=usual.fps if camera.fps is None else camera.fps,
            idle_fps=usual.idle_fps if camera.idle_fps is None else camera.idle_fps,
            threshold=usual.threshold if camera.threshold is None else camera.threshold,
            night_threshold=usual.night_threshold if camera.night_threshold is None else camera.night_threshold,
            alarm_at=usual.alarm_at if camera.alarm_at is None else camera.alarm_at,
        ),
    )


def _alerts(config: Config) -> AlertSettings:
    return AlertSettings(
        bell=config.bell,
        sounds=config.sound.play,
        sound_s=config.sound.seconds,
        sound_device=config.sound.device,
        relays=tuple(pin.words for pin in config.relay),
        deterrent=config.deterrent.play,
        deterrent_lamps=tuple(pin.words for pin in config.deterrent.lamps),
        deterrent_hours=config.deterrent.hours,
        on_alarm=config.command.on_alarm,
        on_trouble=config.command.on_trouble,
        events=config.events,
        mqtt=_broker(config.mqtt) if config.mqtt else None,
        webhook=config.webhook.url,
        webhook_secret=config.webhook.secret,
        notify=config.notify,
    )


def _broker(mqtt: MqttSection) -> MqttSettings:
    usual = PORTS["mqtts" if mqtt.tls else "mqtt"]
    return MqttSettings(
        host=mqtt.host,
        port=usual if mqtt.port is None else mqtt.port,
        user=mqtt.user,
        password=mqtt.password,
        tls=mqtt.tls,
        ca=mqtt.ca,
        insecure=mqtt.insecure,
        prefix=mqtt.prefix,
        discovery=mqtt.discovery,
        every_s=mqtt.every_s,
        pictures=mqtt.pictures,
        client_id=mqtt.client_id,
    )
