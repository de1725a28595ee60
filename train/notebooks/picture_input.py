"""A picture from a file or from the browser's camera, as a widget.

ipywidgets has no camera, and ipywebrtc has had no release since 2021. ipywidgets' FileUpload sends a file in one
message, and a Jupyter server drops the connection at 10 MiB without an error on the page. So this widget does both, in
plain JavaScript (``picture_input.js``) that anywidget brings to the browser. Nothing comes from the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import traitlets

SOURCE = Path(__file__).with_name("picture_input.js")

Taken = Callable[[bytes, str], None]  # a file's bytes and its name
TooLarge = Callable[[int, str], None]  # how many bytes it has, and its name


class PictureInput(anywidget.AnyWidget):
    """Buttons to upload a file, and to open the camera, take a picture and close it.

    ``taken`` is called with each picture, ``too_large`` for a file of more than ``max_bytes``, which is not sent.
    """

    _esm = SOURCE.read_text(encoding="utf-8")
    max_bytes = traitlets.Int().tag(sync=True)

    def __init__(self, taken: Taken, too_large: TooLarge, max_bytes: int, **kwargs: Any) -> None:
        super().__init__(max_bytes=max_bytes, **kwargs)
        self._taken, self._too_large = taken, too_large
        self._held = bytearray()
        self._next = 0
        self.on_msg(self._receive)

    def _receive(self, _widget: object, content: Any, buffers: Sequence[Any]) -> None:
        """Handle one message of the browser: a file's next part, or that it is too large."""
        name = str(content.get("name", ""))
        if content.get("kind") == "too large":
            self._too_large(int(content["bytes"]), name)
        if content.get("kind") != "part" or not buffers:
            return
        number, parts = int(content["number"]), int(content["parts"])
        if number == 0:
            self._held, self._next = bytearray(), 0
        if number != self._next or len(self._held) + len(buffers[0]) > self.max_bytes:
            return  # a part of a file without its beginning
        self._held += bytes(buffers[0])
        self._next += 1
        if self._next == parts:
            data, self._held, self._next = bytes(self._held), bytearray(), 0
            self._taken(data, name)
