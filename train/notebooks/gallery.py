"""fastai's gallery of pictures with a menu under each, which remembers what was chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
from fastai.vision.widgets import ImagesCleaner
from fastcore.foundation import L
from ipywidgets import Dropdown, Image, Label, VBox

from edge.detect.crops import square
from edge.errors import PictureError
from edge.pictures import decode_picture, picture_bytes
from edge.schema import WHOLE
from train.data.pictures import Picture
from train.learn.dataloaders import BOX_CONTEXT
from train.notebooks.ranking import view_of

KEEP_IT, DELETE_IT = "<Keep>", "<Delete>"  # as fastai calls them


class Gallery(ImagesCleaner):
    """Thumbnails, a menu under each, and words under that. ``choices`` holds what was chosen, by file.

    ``seen`` holds the SHA-256 of the bytes that were shown, by file: a decision is about those.
    """

    def __init__(
        self,
        labels: Sequence[str],
        picture_of: Callable[[Path], Picture],
        words_of: Callable[[Path], str],
        heard: Callable[[], None],
        *,
        height: int = 128,
        width: int = 256,
        max_n: int = 30,
    ) -> None:
        super().__init__(tuple(labels), height=height, width=width, max_n=max_n)
        self.choices: dict[Path, str] = {}
        self.seen: dict[Path, str] = {}
        self._picture_of, self._words_of, self._heard = picture_of, words_of, heard

    def set_fns(self, fns: Sequence[Path]) -> None:
        """Show the first ``max_n`` of these files, each with what was chosen for it before."""
        self.fns = L(fns)[: self.max_n]
        self.widget.children = [self._card(file) for file in self.fns]

    def _card(self, file: Path) -> VBox:
        menu = Dropdown(options=self.opts, value=self.choices.get(file, KEEP_IT), layout={"width": "max-content"})
        words = self._words_of(file)
        try:
            shown = Image(value=self._thumbnail(file), format="jpeg")
        except PictureError as error:
            shown, words, menu.disabled = Label("no picture"), str(error), True
        shown.layout.height, shown.layout.object_fit = f"{self.height}px", "contain"
        shown.layout.max_width = f"{self.width}px"

        def choose(change: Any) -> None:
            self.choices[file] = change.new
            self._heard()

        menu.observe(choose, names="value")
        return VBox([shown, menu, Label(words)])

    def _thumbnail(self, file: Path) -> bytes:
        """What the network looks at of a picture, as a JPEG ``height`` pixels high. Raises PictureError."""
        data = picture_bytes(file)
        image = decode_picture(data, file)
        box = view_of(self._picture_of(file))
        if box != WHOLE:
            x, y, w, h = square(box, (image.shape[1], image.shape[0]), BOX_CONTEXT)
            image = image[y : y + h, x : x + w]
        scale = min(2 * self.height / image.shape[0], 2 * self.width / image.shape[1])
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        shrunk = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        self.seen[file] = hashlib.sha256(data).hexdigest()
        return cv2.imencode(".jpg", shrunk)[1].tobytes()
