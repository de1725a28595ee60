"""Check what pydantic cannot: settings that contradict each other, and what this machine lacks.

``check_together`` finds contradictions, ``absent`` and ``doubts`` what is missing now and may come later.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edge.alert.mqtt_settings import MqttSettings
from edge.alert.sound import is_path
from edge.config.schema import DEMO, CameraSection, Config, is_camera, parser_words
from edge.config.yaml_tree import Key, key_text
from edge.decide.evidence import Rule
from edge.detect.zones import covered, drawn
from edge.errors import NOT_HERE, OptionError, SourceError
from edge.settings import MQTT

if TYPE_CHECKING:
    from edge.settings import AlertSettings

TWO_ADDRESSES = re.compile(r"[\s,;]+[\w+-]+://")  # a second address in one
MAX_NOTIFIED = 100

STREAMS = ("rtsp", "rtsps", "http", "https", "rtmp", "udp", "tcp", "picamera")
ESCAPED = "the signs / ? # @ % of a password are written %2F %3F %23 %40 %25"
WHOLE = (0.0, 0.0, 1.0, 1.0)
MASK_GRID = (128, 128)  # points on which it is judged what of a zone masks leave

Add = Callable[..., None]  # the setting, the sentence, and further settings: a mistake in one of them is enough


def check_together(config: Config, add: Add) -> None:
    """Give each contradiction to ``add``, with the setting to change. Files and folders are looked at."""
    check_cameras(config, add)
    _check_pins(config, add)
    _check_sound(config, add)
    if "every_s" in config.health.heartbeat.model_fields_set and not config.health.heartbeat.url:
        words = "there is a time but no address; give health.heartbeat.url too"
        add(("health", "heartbeat", "every_s"), words, ("health", "heartbeat", "url"))
    if (config.deterrent.lamps or config.deterrent.hours) and not config.deterrent.play:
        inner = "lamps" if config.deterrent.lamps else "hours"
        words = "this belongs to a deterrent, and there is none; give deterrent.play: on"
        add(("deterrent", inner), words, ("deterrent", "play"))
    if config.webhook.secret and not config.webhook.url:
        add(("webhook", "secret"), "there is a secret but no address; give webhook.url too", ("webhook", "url"))
    if config.webhook.secret and not config.webhook.secret.strip():
        add(("webhook", "secret"), "it is empty; give one, or leave it out")
    for name, other in (("latitude", "longitude"), ("longitude", "latitude")):
        if getattr(config.site, name) is not None and getattr(config.site, other) is None:
            add(("site", name), f"a place needs both; give site.{other} too", ("site", other))
    _check_mqtt(config, add)
    _check_updates(config, add)
    _check_notify(config, add)


def _check_pins(config: Config, add: Add) -> None:
    seen: dict[int, Key] = {}
    for at, pins in ((("relay",), config.relay), (("deterrent", "lamps"), config.deterrent.lamps)):
        for number, pin in enumerate(pins):
            key: Key = (*at, number)
            if pin.pin in seen:
                add(key, f"pin {pin.pin} is already that of {key_text(seen[pin.pin])}; give each its own pin")
            seen.setdefault(pin.pin, key)


def _check_sound(config: Config, add: Add) -> None:
    sound = config.sound
    if sound.play:
        return
    for name in ("seconds", "device"):
        if name in sound.model_fields_set and not (name == "device" and config.deterrent.play):
            add(("sound", name), "nothing would sound; give sound.play too, such as siren", ("sound", "play"))
            return


def _check_mqtt(config: Config, add: Add) -> None:
    mqtt = config.mqtt
    if mqtt is None:
        return
    if "://" in mqtt.host or "@" in mqtt.host:  # it may hold a password, which is shown nowhere
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
            MqttSettings(**given)
        except OptionError as error:
            sound = False
            add(("mqtt", name), parser_words(error))
    if sound and mqtt.ca:
        try:
            MqttSettings(mqtt.host, tls=True, ca=mqtt.ca).tls_context()
        except NOT_HERE:
            pass  # no mistake, as below
        except OptionError as error:
            add(("mqtt", "ca"), parser_words(error))


def _check_updates(config: Config, add: Add) -> None:
    sources = config.updates.sources
    if sources and config.model:
        words = "no new model would be used, for model names the one file; delete one of the two"
        add(("updates", "sources"), words, ("model",))
    if config.updates.hours > config.updates.ask_h:
        name = "hours" if "hours" in config.updates.model_fields_set else "ask_h"
        words = (
            f"a trial of {config.updates.hours:g} hours would not end before a person is asked, after ask_h "
            f"{config.updates.ask_h:g}; give fewer hours, or raise ask_h"
        )
        add(("updates", name), words, ("updates", "ask_h"))
    for number, source in enumerate(sources):
        if source in sources[:number]:
            add(("updates", "sources", number), "the same source is there twice; once is enough")
    if MQTT in sources and config.mqtt is None:
        at = ("updates", "sources", sources.index(MQTT))
        add(at, "there is no broker; give mqtt too, such as mqtt://10.0.0.7", ("mqtt",))


def _check_notify(config: Config, add: Add) -> None:
    if not config.notify:
        return
    from edge.alert.notify import Notify

    if len(config.notify) > MAX_NOTIFIED:
        add(
            ("notify",),
            f"more than {MAX_NOTIFIED} addresses; each takes its time at an alarm, so notify a group instead",
        )
        return
    addresses = [url.strip() for url in config.notify]
    for number, url in enumerate(addresses):
        key: Key = ("notify", number)
        if url in addresses[:number]:
            add(key, "the same address is there twice; once is enough")
            continue
        if TWO_ADDRESSES.search(url):
            add(key, "two addresses in one text; give each a line of its own, with - before it")
            continue
        try:
            Notify(url)
        except NOT_HERE:
            pass  # no mistake: it is tried again while the alarm runs, and `config check` warns of it
        except OptionError as error:
            add(key, parser_words(error))


def absent(config: Config) -> Iterator[tuple[Key, str]]:
    """Yield paths that are missing, which is not a mistake: the alarm reports them and tries again."""
    paths: list[tuple[Key, str]] = [(("sound", "play", n), each) for n, each in enumerate(config.sound.play)]
    if config.deterrent.play:
        paths.append((("deterrent", "play"), config.deterrent.play))
    if config.mqtt and config.mqtt.ca:
        paths.append((("mqtt", "ca"), str(config.mqtt.ca)))
    return (each for each in paths if is_path(each[1]) and not Path(each[1]).exists())


def doubts(alerts: AlertSettings) -> Iterator[str]:
    """Yield what this machine cannot do now or what is unwise, a sentence each. Nothing is played, switched or sent."""
    from edge.alert.deterrent import SWITCHED_ON, sound_files
    from edge.alert.gpio import parse_pin, reach_pins
    from edge.alert.local_sinks import command_in_doubt
    from edge.alert.notify import Notify, guessable
    from edge.alert.sound import NAMES, find_players, read_wav

    if alerts.sounds or alerts.deterrent:
        yield from _tried("sound" if alerts.sounds else "deterrent", partial(find_players, alerts.sound_device))
    for path in (Path(what) for what in alerts.sounds if what not in NAMES):
        yield from _tried("sound.play", partial(read_wav, path, alerts.sound_s))
    if alerts.deterrent and alerts.deterrent != SWITCHED_ON:
        yield from _tried("deterrent.play", partial(sound_files, alerts.deterrent, Path(alerts.deterrent)))
    if alerts.mqtt:
        yield from _tried("mqtt.ca", alerts.mqtt.tls_context)
    for name, pins in (("relay", alerts.relays), ("deterrent.lamps", alerts.deterrent_lamps)):
        if pins:
            yield from _tried(name, partial(reach_pins, parse_pin(pins[0], name).number))
    for name, line in (("on_alarm", alerts.on_alarm), ("on_trouble", alerts.on_trouble), ("text", alerts.text)):
        if line and (doubt := command_in_doubt(line, f"command.{name}")):
            yield doubt
    for url in alerts.notify:
        yield from _tried("notify", partial(Notify, url))
        if doubt := guessable(url):
            yield f"notify: {doubt}"


def _tried(name: str, call: Callable[[], object]) -> Iterator[str]:
    try:
        call()
    except NOT_HERE as error:
        yield f"{name}: {parser_words(error)}"


def check_cameras(config: Config, add: Add) -> None:
    """Give each contradiction of cameras to ``add``, and each source that no camera, file or folder can be."""
    watched = {name: camera for name, camera in config.cameras.items() if camera.enabled}
    for name, camera in config.cameras.items():
        _check_camera(("cameras", name), camera, config, add)
    if config.cameras and not watched:
        add(("cameras",), "every camera is off (enabled: no), so nothing would be watched; turn one on")
    _check_rates(("detect",), config.detect.fps, config.detect.idle_fps, add)
    _check_evidence(("detect", "alarm_at"), config.detect.alarm_at, config.detect.fps, add)
    _check_devices(watched, add)


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
    if camera.alarm_at is not None:
        _check_evidence((*key, "alarm_at"), camera.alarm_at, fps, add)
    elif camera.fps is not None:
        _check_evidence((*key, "fps"), config.detect.alarm_at, fps, add)
    if camera.enabled:
        _check_sources(key, camera, add)
    masks = camera.motion.mask
    if masks and covered(masks, WHOLE) == 1.0:
        add((*key, "motion", "mask"), "the masks cover the whole picture together and leave nothing to look at")
    elif masks and camera.zones:
        open_ = ~drawn(masks, MASK_GRID)
        if not any((drawn([zone], MASK_GRID) & open_).any() for zone in camera.zones.values()):
            add((*key, "zones"), "the masks cover all of the zones, so nothing could ever alarm")


def _check_sources(key: Key, camera: CameraSection, add: Add) -> None:
    source, smaller = camera.source, camera.motion_source
    if wrong := _wrong_stream(source) if is_camera(source) else None:
        add((*key, "source"), wrong)
    elif camera.follow and (is_camera(source) or source == DEMO or _is_file(source)):
        add((*key, "follow"), "the source is no folder; follow is for a folder in which pictures arrive")
    elif not (camera.follow or is_camera(source) or source == DEMO or _is_there(source)):
        words = "no such file or folder; a camera is 0, /dev/video0, picamera://0 or a whole address such as rtsp://…"
        add((*key, "source"), words)
    elif not (camera.follow or is_camera(source) or "**" in source or _matches(source)):
        add((*key, "source"), "no file matches this pattern; check it")
    if smaller is None:
        return
    if camera.follow:
        add((*key, "motion_source"), "it belongs to a camera's stream, and follow to a folder; keep one of them")
    elif not is_camera(source):
        add((*key, "motion_source"), "the source is no live stream; only a camera has a smaller stream beside it")
    elif not is_camera(smaller):
        add((*key, "motion_source"), "it is a file or folder; give the camera's smaller stream, such as rtsp://…")
    elif wrong := _wrong_stream(smaller):
        add((*key, "motion_source"), wrong)


def _wrong_stream(word: str) -> str | None:
    """Return why no camera can have this address, in words without it; None where one may."""
    if any(sign.isspace() or not sign.isprintable() for sign in word):
        return "a space or an unprintable sign is in it; a # begins a comment only behind a space"
    scheme, sign, _ = word.partition("://")
    if not sign:
        return None
    if scheme.lower() not in STREAMS:
        return f"no such kind of stream; there are {'://, '.join(STREAMS)}://"
    if scheme.lower() == "picamera":
        return _wrong_pi(word)
    try:
        parts = urlsplit(word)
        whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        whole = False
    if whole:
        return None
    return f"no address: a port is a number, and {ESCAPED}"


def _wrong_pi(word: str) -> str | None:
    from edge.camera.picamera import parse_pi

    try:
        parse_pi(word)
    except SourceError as error:
        return str(error).removeprefix(f"{word}: ")
    return None


def _is_there(source: str) -> bool:
    """Return whether a file or folder is there; of a pattern its folder, because looking through it may take long."""
    whole = re.split(r"[*?[]", source)[0].rpartition("/")[0] or "/" if glob.has_magic(source) else source
    try:
        return Path(whole).exists() or Path(source).exists()
    except PermissionError:
        return True  # for all this user may know
    except OSError:  # a name that is too long
        return False


def _matches(source: str) -> bool:
    path = Path(source).expanduser()
    return not glob.has_magic(source) or path.exists() or next(glob.iglob(str(path)), None) is not None  # noqa: PTH207


def _is_file(source: str) -> bool:
    try:
        return Path(source).is_file()
    except OSError:
        return False


def _check_devices(watched: dict[str, CameraSection], add: Add) -> None:
    """Refuse a device, or a folder that is followed, that two cameras have; a stream may be had twice."""
    seen: dict[str, Key] = {}
    for name, camera in watched.items():
        if camera.follow:
            key: Key = ("cameras", name, "source")
            folder = str(Path(camera.source).resolve())
            if folder in seen:
                add(key, f"it is the folder of {key_text(seen[folder])}, which only one can follow", seen[folder])
            seen.setdefault(folder, key)
            continue
        for field, word in (("source", camera.source), ("motion_source", camera.motion_source)):
            key = ("cameras", name, field)
            device = device_of(word or "")
            if not device.startswith(("/dev/", "picamera://")):
                continue
            if device in seen:
                add(key, f"it is the device of {key_text(seen[device])}, which only one can have", seen[device])
            seen.setdefault(device, key)


def device_of(source: str) -> str:
    """Return a source by the one name of its device: 0 is /dev/video0, and links are followed."""
    if source.isdecimal():
        source = f"/dev/video{source}"
    if source.startswith("/dev/"):
        return str(Path(source).resolve())
    return source.partition("?")[0] if source.startswith("picamera://") else source


def _check_rates(key: Key, fps: float, idle_fps: float | None, add: Add) -> None:
    if idle_fps is not None and idle_fps > fps:
        add(
            (*key, "idle_fps"),
            f"{idle_fps:g} is more than fps {fps:g}, though it is for when nothing moves; give it less, or raise fps",
            (*key, "fps"),
            ("detect", "fps"),
        )


def _check_evidence(key: Key, alarm_at: float | None, fps: float, add: Add) -> None:
    if alarm_at is not None and Rule(0.5, 0.5, alarm_at=alarm_at).frames_needed(1.0 / fps) is None:
        add(
            key,
            f"alarm_at {alarm_at:g} at fps {fps:g}: evidence is forgotten between frames, so a sure bear would never "
            "alarm; raise fps or lower alarm_at",
        )
