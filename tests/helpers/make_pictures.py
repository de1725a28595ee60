"""Make the pictures of docs/: a terminal, a snapshot with a zone, wiring, Home Assistant, the page, the phone.

python tests/helpers/make_pictures.py
"""

from __future__ import annotations

import base64
import subprocess
import sys
import tempfile
from html import escape
from itertools import groupby
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from edge.schema import Event
from tests.helpers import page_pictures, phone_pictures
from tests.helpers.home_world import Entity, Home, Process, Wire

DOCS = ROOT / "docs"
COMMAND = [sys.executable, "-m", "edge"]
HELD_S = 6.0  # that the last line stays before the recording begins again
SHOWN = ("Watching", "fox", "boar", "toy", "BEAR", "demo at", "1 alarm")  # how the lines begin that are shown
LINE_PX, LETTER_PX, TOP_PX = 22, 8.4, 56
CARD_PX, ROW_PX, THUMBNAIL_WH = 330, 30, (160, 90)
# What Home Assistant writes in place of a binary sensor's "on" and "off", by its device class.
WORDS = {
    "connectivity": ("Connected", "Disconnected"),
    "occupancy": ("Detected", "Clear"),
    "problem": ("Problem", "OK"),
}


def recorded() -> list[str]:
    """Return the lines that `watch demo` prints, without those of this machine's paths."""
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            [*COMMAND, "watch", "demo", "--no-evidence"], cwd=folder, capture_output=True, text=True, check=True
        )
    return [line for line in (run.stdout + run.stderr).splitlines() if line.startswith(SHOWN)]


def terminal(lines: list[str]) -> str:
    """Return an SVG in which the lines appear one after the other, again and again."""
    typed = ["$ bear-alarm watch demo", *lines]
    width, height = int(max(map(len, typed)) * LETTER_PX) + 40, TOP_PX + len(typed) * LINE_PX
    whole_s = len(typed) + HELD_S
    style, texts = [], []
    for number, line in enumerate(typed):
        start = 100 * number / whole_s
        style.append(f"@keyframes l{number}{{0%,{start:.1f}%{{opacity:0}}{start + 0.1:.1f}%,100%{{opacity:1}}}}")
        look = f"animation:l{number} {whole_s:g}s infinite"
        colour = "#ff6b60" if line.startswith("BEAR") else "#d8dee9"
        y = TOP_PX + number * LINE_PX
        texts.append(f'<text x="20" y="{y}" fill="{colour}" style="{look}" xml:space="preserve">{escape(line)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="monospace" font-size="14"><style>{"".join(style)}</style>'
        f'<rect width="{width}" height="{height}" rx="8" fill="#1e222a"/>'
        '<circle cx="20" cy="18" r="6" fill="#ff5f57"/><circle cx="40" cy="18" r="6" fill="#febc2e"/>'
        f'<circle cx="60" cy="18" r="6" fill="#28c840"/>{"".join(texts)}</svg>\n'
    )


def zones(out: Path) -> None:
    """Save a snapshot of the demo with a zone and a mask."""
    words = ["--at", "16", "--zone", "path=0,0.5 0.6,0.5 0.6,1 0,1", "--mask", "0.75,0 1,0 1,0.35 0.75,0.35"]
    subprocess.run([*COMMAND, "snapshot", "demo", *words, "--out", str(out)], check=True, capture_output=True)
    picture = cv2.imread(str(out))
    assert picture is not None
    cv2.imwrite(str(out), cv2.resize(picture, (960, 540), interpolation=cv2.INTER_AREA), [cv2.IMWRITE_JPEG_QUALITY, 80])


def wiring() -> str:
    """Return an SVG of a Raspberry Pi, a relay board, a 12 V siren and its battery."""

    def box(x: int, y: int, width: int, height: int, *words: str) -> str:
        lines = "".join(
            f'<text x="{x + width / 2}" y="{y + 26 + 20 * n}" text-anchor="middle">{escape(word)}</text>'
            for n, word in enumerate(words)
        )
        frame = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="#fff" stroke="#333"/>'
        return frame + lines

    def wire(colour: str, words: str, *points: tuple[int, int]) -> str:
        path = " ".join(f"{x},{y}" for x, y in points)
        (x0, y0), (x1, _) = points[:2]
        at = f'x="{(x0 + x1) / 2}" y="{y0 - 6}" text-anchor="middle" font-size="12"'
        line = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="3"/>'
        return f"{line}<text {at}>{escape(words)}</text>"

    parts = [
        box(20, 40, 190, 150, "Raspberry Pi", "", "pin 1: 3.3 V", "pin 11: GPIO 17", "pin 9: GND"),
        box(360, 40, 190, 150, "relay board", "for 3.3 V signals", "VCC", "IN", "GND"),
        box(360, 250, 190, 80, "12 V siren"),
        box(20, 250, 190, 80, "12 V battery", "with a fuse"),
        wire("#c0392b", "3.3 V", (210, 101), (360, 101)),
        wire("#e0a100", "signal", (210, 126), (360, 126)),
        wire("#222222", "ground", (210, 151), (360, 151)),
        wire("#c0392b", "+12 V", (210, 275), (300, 275), (300, 225), (580, 225), (580, 80), (550, 80)),
        wire("#c0392b", "NO", (550, 120), (610, 120), (610, 290), (550, 290)),
        wire("#222222", "−", (210, 315), (360, 315)),
        '<text x="586" y="76" font-size="12">COM</text>',
    ]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="660" height="360" viewBox="0 0 660 360" '
        'font-family="sans-serif" font-size="14"><rect width="660" height="360" fill="#f6f6f2"/>'
        + "".join(parts)
        + "</svg>\n"
    )


def home() -> list[Entity]:
    """Return the entities that Home Assistant makes of what the alarm publishes: one camera, and a bear is there."""
    wire = Wire()
    shown = Home(wire)
    with pytest.MonkeyPatch.context() as patch:
        alarm = Process(wire, patch, stats=lambda: {"well": True, "reason": "", "problems": {}})
        alarm.watched["yard"] = True
        alarm.connect()
        at = "2026-11-24T02:12:07.000Z"
        alarm.mqtt(Event("bear", "new", "a", 1, "run", "yard", at, label="brown_bear", score=0.98))
        alarm.beat()
    return list(shown.entities.values())


def value(entity: Entity) -> str:
    """Return an entity's state as Home Assistant's card shows it, with its unit."""
    config, state = entity.config, entity.state
    if entity.component == "event" or config.get("device_class") == "timestamp":
        return "12 seconds ago"
    if entity.component == "binary_sensor" and state in {"on", "off"}:
        return WORDS[config["device_class"]][int(state == "off")]
    return f"{state} {config['unit_of_measurement']}" if "unit_of_measurement" in config else state


def cards(entities: list[Entity], picture: Path) -> str:
    """Return an SVG of Home Assistant's cards, one for each device; the image entity shows the picture."""
    thumbnail = cv2.imread(str(picture))
    assert thumbnail is not None
    thumbnail = cv2.resize(thumbnail, THUMBNAIL_WH, interpolation=cv2.INTER_AREA)
    data = base64.b64encode(cv2.imencode(".jpg", thumbnail, [cv2.IMWRITE_JPEG_QUALITY, 70])[1].tobytes()).decode()
    parts, bottom = [], 0
    for column, (device, group) in enumerate(groupby(entities, lambda entity: entity.config["device"]["name"])):
        left, y = 20 + column * (CARD_PX + 20), 56
        lines = [f'<text x="{left + 16}" y="{y}" font-size="18">{escape(device)}</text>']
        heading = ""
        for entity in sorted(group, key=lambda entity: "entity_category" in entity.config):
            if (category := entity.config.get("entity_category", "")) != heading:
                heading, y = category, y + ROW_PX
                lines.append(f'<text x="{left + 16}" y="{y}" fill="#777">{escape(category.capitalize())}</text>')
            y += ROW_PX
            lines.append(f'<text x="{left + 16}" y="{y}">{escape(entity.config["name"])}</text>')
            right, (width, height) = left + CARD_PX - 16, THUMBNAIL_WH
            if entity.component == "image":
                box = f'x="{right - width}" y="{y - 14}" width="{width}" height="{height}"'
                lines.append(f'<image {box} href="data:image/jpeg;base64,{data}"/>')
                y += height - ROW_PX // 2
            else:
                lines.append(f'<text x="{right}" y="{y}" text-anchor="end">{escape(value(entity))}</text>')
        frame = f'<rect x="{left}" y="20" width="{CARD_PX}" height="{y}" rx="12" fill="#fff" stroke="#ddd"/>'
        parts.append(frame + "".join(lines))
        bottom = max(bottom, y + 40)
    width = 20 + len(parts) * (CARD_PX + 20)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{bottom}" viewBox="0 0 {width} {bottom}" '
        f'font-family="sans-serif" font-size="14"><rect width="{width}" height="{bottom}" fill="#f6f6f2"/>'
        + "".join(parts)
        + "</svg>\n"
    )


def main() -> None:
    """Write the pictures."""
    (DOCS / "terminal.svg").write_text(terminal(recorded()), encoding="utf-8")
    (DOCS / "wiring.svg").write_text(wiring(), encoding="utf-8")
    (DOCS / "home-assistant.svg").write_text(cards(home(), DOCS / "alert.jpg"), encoding="utf-8")
    zones(DOCS / "zones.jpg")
    page_pictures.write(DOCS)
    with tempfile.TemporaryDirectory() as work:
        phone_pictures.write(DOCS, Path(work))


if __name__ == "__main__":
    main()
