"""Try the alarm's model on one picture: the answer in plain words, as a page. Needs no torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import cv2
import traitlets
from ipywidgets import HTML, VBox, Widget

from edge.detect.card import Card
from edge.detect.classifier import Classifier, load
from edge.detect.stills import StillResult, look
from edge.errors import BearAlarmError, PictureError
from edge.schema import Picture
from train.data.gather.check import RefusedError, check
from train.pages import data_uri, render, resized

log = logging.getLogger(__name__)

MAX_BYTES = 32_000_000  # a camera's largest JPEG has half of it
SHOWN_PX = 640  # longer side of the picture on the page
STRANGE = "This picture is unlike my training data"
BOX_BGR = (60, 60, 220)
WAITING = "<p>Looking …</p>"

FAULT = "Something went wrong here, and the fault is in this program; the notebook's log has more. Try another picture."


class TrialApp:
    """Upload, camera and answer, over one classifier. ``box`` is the widget to show."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.input = PictureInput(self.answer, self.refuse_size, MAX_BYTES)
        self.output = HTML()
        model = HTML(f"<small>Model: {escape(classifier.name)}. Pictures are not kept.</small>")
        self.box = VBox([self.input, self.output, model])

    def answer(self, data: bytes, name: str) -> None:
        """Show the answer for a picture's bytes, or the sentence of an error."""
        self.output.value = WAITING
        try:
            image = read_upload(data, name)
            self.output.value = page_of(look(self.classifier, image), self.classifier.card, image)
        except BearAlarmError as error:
            self.output.value = refusal_of(str(error))
        except Exception:  # a page must not show a traceback
            log.exception("trying %s", name)
            self.output.value = refusal_of(FAULT)

    def refuse_size(self, size: int, name: str) -> None:
        """Show that a file of ``size`` bytes is too large."""
        self.output.value = refusal_of(too_large(size, name))


def trial_app(model: str | None = None) -> Widget:
    """Open the page on the model that the alarm uses: ``model``, else $BEAR_ALARM_MODEL, the chosen or bundled one.

    If the model cannot be used, the page is that one sentence.
    """
    try:
        return TrialApp(load(model)).box
    except BearAlarmError as error:
        return HTML(refusal_of(str(error)))


def read_upload(data: bytes, name: str) -> Picture:
    """Read the picture in an uploaded file's bytes, uint8 (H, W, 3) BGR, upright.

    Raises PictureError with one sentence unless it is a complete still picture of a usual size.
    """
    if len(data) > MAX_BYTES:
        raise PictureError(too_large(len(data), name))
    try:
        return check(data).image
    except RefusedError as error:
        words = error.words.partition(", which training")[0]
        raise PictureError(
            f"{shortened(name)}: this is no picture that I can read ({words}); choose a JPEG or PNG"
        ) from None


def too_large(size: int, name: str) -> str:
    """Return the sentence about a file of ``size`` bytes, more than this page takes."""
    return f"{shortened(name)}: {size / 1e6:.0f} MB is too large; give a picture of at most {MAX_BYTES / 1e6:.0f} MB"


def shortened(name: str) -> str:
    """Shorten a file's name for a sentence."""
    return f"{name[:60]}…" if len(name) > 60 else name or "the picture"


def sentences(found: StillResult, card: Card) -> list[str]:
    """Return the prediction, the alarm's decision, and a warning if the picture is out of domain."""
    would = "would" if found.alarm else "would not"
    needed = percent(card.thresholds["frame"].value)
    figure = f"the probability of a bear is {percent(found.bear)}, and it takes {needed}"
    lines = [f"I see: {found.label.replace('_', ' ')}.", f"The alarm {would} count this as a bear: {figure}."]
    if found.ood > card.ood.threshold:
        lines.append(f"{STRANGE}: do not trust this answer.")
    return lines


def page_of(found: StillResult, card: Card, image: Picture) -> str:
    """Write the result as HTML: the picture with the scored part, sentences, a bar for each label."""
    return _page(
        sentences=sentences(found, card),
        probabilities=sorted(found.probabilities.items(), key=lambda item: -item[1]),
        notice=card.notice,
        picture=_preview(image, found),
        strange=STRANGE,
        refusal="",
    )


def percent(share: float) -> str:
    """Write a probability in per cent: 100 % only for 1."""
    return f"{min(share, 0.999) * 100:.1f} %" if share < 1 else "100 %"


def _preview(image: Picture, found: StillResult) -> str:
    """Make the picture a data URI, its longer side at most ``SHOWN_PX``, the scored part framed."""
    small = resized(image, SHOWN_PX).copy()
    height, width = small.shape[:2]
    x, y, w, h = found.box_xywh
    first = round(x * width), round(y * height)
    last = round((x + w) * width) - 1, round((y + h) * height) - 1
    cv2.rectangle(small, first, last, BOX_BGR, 2)
    return data_uri(small, 85)


SOURCE = Path(__file__).with_name("picture_input.js")

Taken = Callable[[bytes, str], None]  # a file's bytes and its name
TooLarge = Callable[[int, str], None]  # how many bytes it has, and its name


class PictureInput(anywidget.AnyWidget):
    """Buttons to upload a file, and to open the camera, take a picture and close it.

    ipywidgets has no camera, and its FileUpload sends a file in one message, for which a Jupyter server drops the
    connection at 10 MiB without an error on the page. This is plain JavaScript that anywidget brings to the browser.

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


def refusal_of(sentence: str) -> str:
    """Write an error's sentence as HTML."""
    return _page(refusal=sentence)


def _page(**values: Any) -> str:
    return render(Path(__file__).with_name("trial.html"), {"percent": percent}, **values)
