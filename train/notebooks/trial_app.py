"""The page on which a model is tried: a file or a shot from the camera in, the verdict out."""

from __future__ import annotations

import logging
from html import escape
from typing import TYPE_CHECKING

from ipywidgets import HTML, VBox, Widget

from edge.detect.classifier import load
from edge.errors import BearAlarmError
from train.notebooks.picture_input import PictureInput
from train.notebooks.trial import MOST_BYTES, judge, page_of, read_upload, refusal_of, too_large

if TYPE_CHECKING:
    from edge.detect.classifier import Classifier

log = logging.getLogger(__name__)

WAITING = "<p>Looking …</p>"
OURS = "Something went wrong here, and it is our fault; the notebook's log says more. Try another picture."


class TrialApp:
    """Upload, camera and answer, over one classifier. ``box`` is the widget to show."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.input = PictureInput(self.answer, self.refuse_size, MOST_BYTES)
        self.told = HTML()
        model = HTML(f"<small>Model: {escape(classifier.name)}. Pictures are not kept.</small>")
        self.box = VBox([self.input, self.told, model])

    def answer(self, data: bytes, name: str) -> None:
        """Show what the model says of a picture's bytes, or the one sentence that says why it cannot."""
        self.told.value = WAITING
        try:
            image = read_upload(data, name)
            self.told.value = page_of(*judge(self.classifier, image), image)
        except BearAlarmError as error:
            self.told.value = refusal_of(str(error))
        except Exception:  # a page has nobody who reads tracebacks
            log.exception("trying %s", name)
            self.told.value = refusal_of(OURS)

    def refuse_size(self, size: int, name: str) -> None:
        """Say that a file of ``size`` bytes is too large."""
        self.told.value = refusal_of(too_large(size, name))


def trial_app(model: str | None = None) -> Widget:
    """The page over the model that the alarm uses: ``model``, else $BEAR_ALARM_MODEL, the chosen or the bundled one.

    Where the model cannot be used the page is that one sentence.
    """
    try:
        return TrialApp(load(model)).box
    except BearAlarmError as error:
        return HTML(refusal_of(str(error)))
