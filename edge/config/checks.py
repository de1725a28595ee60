"""What cannot be meant together, though each setting for itself can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edge.config.kinds import said
from edge.config.shape import Config
from edge.config.shape_cameras import DEMO, CameraSection, is_camera
from edge.config.tree import Key, key_text
from edge.errors import OptionError
from edge.zones import covered, drawn

WHOLE = (0.0, 0.0, 1.0, 1.0)
FINE = (128, 128)  # points on which it is judged what of a zone masks leave

Add = Callable[..., None]  # the setting, the sentence, and further settings: a mistake in one of them says it all


def check_together(config: Config, add: Add) -> None:
    """Give each contradiction to ``add``, with the setting to change; some need a look at files."""
    for name, camera in config.cameras.items():
        _check_camera(("cameras", name), camera, config, add)
    if config.cameras and not any(camera.enabled for camera in config.cameras.values()):
        add(("cameras",), "every camera is off (enabled: no), so nothing would be watched; turn one on")
    _check_rates(("detect",), config.detect.fps, config.detect.idle_fps, add)
    _check_pins(config, add)
    if (config.deterrent.lamps or config.deterrent.hours) and not config.deterrent.play:
        inner = "lamps" if config.deterrent.lamps else "hours"
        words = "this belongs to a deterrent, and there is none; give deterrent.play: on"
        add(("deterrent", inner), words, ("deterrent", "play"))
    if config.webhook.secret and not config.webhook.url:
        add(("webhook", "secret"), "there is a secret but no address; give webhook.url too", ("webhook", "url"))
    _check_mqtt(config, add)
    _check_webhook(config, add)
    _check_notify(config, add)


def _check_camera(key: Key, camera: CameraSection, config: Config, add: Add) -> None:
    fps = config.detect.fps if camera.fps is None else camera.fps
    if camera.idle_fps is not None:
        _check_rates(key, fps, camera.idle_fps, add)
    elif camera.fps is not None and config.detect.idle_fps is not None and camera.fps < config.detect.idle_fps:
        add(
            (*key, "fps"),
            f"{fps:g} is less than detect.idle_fps {config.detect.idle_fps:g}, which is for when nothing moves; "
            "give this camera an idle_fps too",
            (*key, "idle_fps"),
        )
    if camera.follow and (is_camera(camera.source) or camera.source == DEMO):
        add((*key, "follow"), "the source is no folder; follow is for a folder in which pictures arrive")
    if camera.motion_source is not None:
        if camera.follow:
            add((*key, "motion_source"), "it belongs to a camera's stream, and follow to a folder; keep one of them")
        elif not is_camera(camera.source):
            add((*key, "motion_source"), "the source is no live stream; only a camera has a smaller stream beside it")
        elif not is_camera(camera.motion_source):
            add((*key, "motion_source"), "it is a file or folder; give the camera's smaller stream, such as rtsp://…")
    masks = camera.motion.mask
    if masks and covered(masks, WHOLE) == 1.0:
        add((*key, "motion", "mask"), "the masks cover the whole picture together and leave nothing to look at")
    elif masks and camera.zones:
        open_ = ~drawn(masks, FINE)
        if not any((drawn([zone], FINE) & open_).any() for zone in camera.zones.values()):
            add((*key, "zones"), "the masks cover all of the zones, so nothing could ever alarm")


def _check_rates(key: Key, fps: float, idle_fps: float | None, add: Add) -> None:
    if idle_fps is not None and idle_fps > fps:
        add(
            (*key, "idle_fps"),
            f"{idle_fps:g} is more than fps {fps:g}, though it is for when nothing moves; give it less, or raise fps",
            (*key, "fps"),
            ("detect", "fps"),
        )


def _check_pins(config: Config, add: Add) -> None:
    seen: dict[int, Key] = {}
    for at, pins in ((("relay",), config.relay), (("deterrent", "lamps"), config.deterrent.lamps)):
        for number, pin in enumerate(pins):
            key: Key = (*at, number)
            if pin.pin in seen:
                add(key, f"pin {pin.pin} is already that of {key_text(seen[pin.pin])}; a pin can do one thing")
            seen.setdefault(pin.pin, key)


def _check_mqtt(config: Config, add: Add) -> None:
    from edge.sinks.mqtt.address import Settings

    mqtt = config.mqtt
    if mqtt is None:
        return
    if "://" in mqtt.host or "@" in mqtt.host:
        add(("mqtt", "host"), "a host is a name or an address alone; for a whole URL write mqtt: URL")
        return
    for name in ("ca", "insecure"):
        if getattr(mqtt, name) and not mqtt.tls:
            add(("mqtt", name), "this is for TLS; write tls: yes too", ("mqtt", "tls"))
            return
    sound = True
    for name in ("host", "user", "password", "prefix", "discovery", "client_id"):
        given: dict[str, Any] = {"host": "localhost"} | {name: getattr(mqtt, name)}
        try:
            Settings(**given)
        except OptionError as error:
            sound = False
            add(("mqtt", name), said(error))
    if sound and mqtt.ca:
        try:
            Settings(mqtt.host, tls=True, ca=mqtt.ca).tls_context()
        except OptionError as error:
            add(("mqtt", "ca"), said(error))


def _check_webhook(config: Config, add: Add) -> None:
    from edge.sinks.webhook import Webhook

    if config.webhook.url:
        try:
            Webhook(config.webhook.url, secret=config.webhook.secret)
        except OptionError as error:
            add(("webhook", "url"), said(error))


def _check_notify(config: Config, add: Add) -> None:
    if not config.notify:
        return
    from edge.sinks.notify import Notify

    for number, url in enumerate(config.notify):
        key: Key = ("notify", number)
        if url in config.notify[:number]:
            add(key, "the same address stands there twice; once is enough")
            continue
        try:
            Notify(url)
        except OptionError as error:
            add(key, said(error))
