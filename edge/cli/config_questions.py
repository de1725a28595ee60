"""Questions of ``bear-alarm config init`` on a terminal: which camera, and which alerts."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from edge.alert.sound import NAMES

DEVICES = Path("/dev")
MAX_DEVICES = 9  # devices that are offered
PI_CAMERA = "picamera://0"
NTFY = "ntfy"

Ask = Callable[[str, str], str]  # a question and the answer that Enter stands for


def found_cameras(devices: Path = DEVICES) -> list[str]:
    """Return sources that may be there: a Raspberry Pi's camera, and each /dev/video*."""
    pi = [PI_CAMERA] if shutil.which("rpicam-vid") or shutil.which("libcamera-vid") else []
    try:
        names = [path.name for path in devices.iterdir() if re.fullmatch(r"video\d+", path.name)]
    except OSError:
        names = []
    return [*pi, *(str(devices / name) for name in sorted(names, key=lambda name: int(name[5:]))[:MAX_DEVICES])]


def asked(ask: Ask, say: Callable[[str], None]) -> dict[str, str]:
    """Return the answers to both questions, as ``edge.config.template.template`` takes them."""
    found = found_cameras()
    if found:
        say("Cameras that may be there:")
        for number, source in enumerate(found, 1):
            say(f"  {number}  {source}")
    usual = found[0] if found else "demo"
    word = ask("Which camera (a number above, /dev/video0, rtsp://…, demo)", usual).strip() or usual
    source = found[int(word) - 1] if found and word.isdecimal() and 1 <= int(word) <= len(found) else word
    say("Notify with: a sound (siren, horn, a WAV file), a relay's pin (17), a phone with the ntfy app (ntfy),")
    say("an address (mailto://…, mqtt://USER:PASSWORD@HOST, https://…), or none.")
    who = ask("Notify with", "siren").strip()
    if who.lower() == NTFY:
        from edge.alert.notify import new_topic

        topic = new_topic()
        say(f"In the ntfy app, subscribe to: {topic}. Anyone who knows this name can read every message.")
        who = f"ntfy://{topic}"
    return {"camera": "yard", "source": source} | section_of(who)


def section_of(word: str) -> dict[str, str]:
    """Return the answer under the section of the template that it belongs to."""
    if word.lower() in {"", "none", "no", "nobody"}:
        return {}
    scheme, sign, _ = word.partition("://")
    if sign:
        kinds = {"mqtt": "mqtt", "mqtts": "mqtt", "http": "webhook", "https": "webhook"}
        return {kinds.get(scheme.lower(), "notify"): word}
    if word in NAMES or word.lower().endswith(".wav"):
        return {"sound": word}
    return {"relay": word} if word[0].isdecimal() else {"sound": word}
