"""HTML pages from jinja2 templates, and pictures inside them: words are escaped."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from edge.record.clip import jpeg
from edge.schema import Picture


def render(template: Path, filters: dict[str, Callable[..., Any]] | None = None, **values: Any) -> str:
    """Fill ``template`` with ``values``. ``as_it_is(NAME)`` in it is a style or script beside it."""
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters or {}
    environment.globals["as_it_is"] = lambda name: Markup((template.parent / name).read_text(encoding="utf-8"))
    return environment.get_template(template.name).render(**values)


def resized(image: Picture, longer_px: int, *, enlarge: bool = False) -> Picture:
    """Bring a picture to ``longer_px`` on its longer side; a smaller one stays unless ``enlarge``."""
    scale = longer_px / max(image.shape[:2])
    if scale >= 1 and not enlarge:
        return image
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=smooth).astype("uint8")


def data_uri(image: Picture, quality: int) -> str:
    """Make a picture, uint8 (H, W, 3) BGR, a data URI of a JPEG."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(image, quality)).decode()
