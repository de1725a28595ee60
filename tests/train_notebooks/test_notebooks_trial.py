"""The page's answer to a picture, and to a file that is none: no browser, no torch."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("PIL")

from edge.detect.classifier import BUNDLED, Classifier
from edge.detect.stills import look
from edge.errors import PictureError
from tests.helpers.drawn import zone_plate
from tests.helpers.tiny import BEAR_COLOUR, NO_BEAR_COLOUR, plain, tiny_card, write_tiny_model
from train.notebooks.trial import MAX_BYTES, STRANGE, page_of, percent, read_upload, refusal_of, sentences, too_large

BEAR = plain(BEAR_COLOUR)


def coded(picture: np.ndarray, suffix: str = ".jpg") -> bytes:
    """A picture file's bytes."""
    return cv2.imencode(suffix, picture)[1].tobytes()


def gif() -> bytes:
    """A GIF of one picture, by Pillow."""
    import io

    from PIL import Image

    held = io.BytesIO()
    Image.new("RGB", (80, 80)).save(held, "GIF")
    return held.getvalue()


def vast_png() -> bytes:
    """A small file whose head promises a picture of 65,536 x 65,536 pixels."""
    head = struct.pack(">II5B", 1 << 16, 1 << 16, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """The tiny network that tells bears by colour."""
    return Classifier(write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.onnx", tiny_card()))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif"])
def test_an_upload_is_read_upright_bgr(suffix: str) -> None:
    image = read_upload(coded(BEAR, suffix), f"bear{suffix}")
    assert image.shape == BEAR.shape
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - BEAR).max() < 30


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes"),
        (b"hello <b>you</b>", "no picture that I can read"),
        (b"<html><body>404</body></html>", "a web page"),
        (gif(), "a GIF"),
        (coded(BEAR)[:-200], "without its end"),
        (coded(BEAR, ".png")[:-60], "no picture that I can read"),
        (coded(plain(BEAR_COLOUR, 20, 20)), "20x20 pixels"),
        (b"x" * (MAX_BYTES + 1), "32 MB is too large"),
        (vast_png(), "million pixels"),
    ],
)
def test_what_is_no_picture_gets_one_sentence(data: bytes, words: str) -> None:
    with pytest.raises(PictureError, match=words) as raised:
        read_upload(data, "IMG 1.jpg")
    assert str(raised.value).startswith("IMG 1.jpg: ")
    assert "\n" not in str(raised.value)


def test_a_long_name_is_shortened_and_markup_is_only_text() -> None:
    assert len(too_large(40_000_000, "a" * 500)) < 160
    assert "<img" not in refusal_of("<img src=x onerror=alert(1)>.jpg: too large")


def test_a_bear_is_counted_by_the_cards_threshold_for_stills(classifier: Classifier) -> None:
    shown = sentences(look(classifier, BEAR), classifier.card)
    assert shown[0] == "I see: brown bear."
    assert "would count this as a bear" in shown[1]
    assert "it takes 70.0 %" in shown[1]


def test_no_bear_is_not_counted_and_has_no_warning(classifier: Classifier) -> None:
    shown = sentences(look(classifier, plain(NO_BEAR_COLOUR)), classifier.card)
    assert shown[0] == "I see: no bear."
    assert "would not count" in shown[1]
    assert len(shown) == 2


def test_strange_is_what_lies_above_the_cards_threshold(classifier: Classifier) -> None:
    from dataclasses import replace

    card = tiny_card()
    for threshold, strange in ((-100.0, True), (100.0, False)):
        classifier.card = replace(card, ood=replace(card.ood, threshold=threshold))
        assert any(STRANGE in line for line in sentences(look(classifier, BEAR), classifier.card)) is strange
    classifier.card = card


def test_a_test_pattern_is_unlike_the_bundled_models_training_data() -> None:
    classifier = Classifier(BUNDLED)
    assert sentences(look(classifier, zone_plate()), classifier.card)[-1].startswith(STRANGE)


def test_the_answer_holds_all_labels_the_notice_and_the_picture(classifier: Classifier) -> None:
    page = page_of(look(classifier, BEAR), classifier.card, BEAR)
    for label in classifier.card.labels:
        assert label.replace("_", " ") in page
    assert "For tests only." in page
    assert "data:image/jpeg;base64," in page
    assert "http" not in page


def test_percent_is_never_sure_of_what_is_not() -> None:
    assert [percent(share) for share in (0.0, 0.5, 0.99999, 1.0)] == ["0.0 %", "50.0 %", "99.9 %", "100 %"]


@pytest.fixture
def app(classifier: Classifier) -> Any:
    """The page without a browser."""
    pytest.importorskip("anywidget")
    from train.notebooks.trial import TrialApp

    return TrialApp(classifier)


def send(app: Any, data: bytes, name: str, parts: int = 1, skip: int = -1) -> None:
    """What the browser sends for a file, in so many parts, one of them lost perhaps."""
    size = -(-len(data) // parts)
    for number in range(parts):
        if number != skip:
            content = {"kind": "part", "name": name, "number": number, "parts": parts}
            app.input._receive(app.input, content, [memoryview(data[number * size : (number + 1) * size])])


def test_a_file_may_come_in_parts_and_half_of_one_is_forgotten(app: Any) -> None:
    send(app, coded(BEAR), "half.jpg", parts=3, skip=1)
    assert app.output.value == ""
    send(app, coded(BEAR), "bear.jpg", parts=3)
    assert "I see: brown bear." in app.output.value


def test_a_refusal_takes_the_answers_place_and_the_next_picture_its(app: Any) -> None:
    send(app, b"text", "notes.txt")
    assert "notes.txt: this is no picture" in app.output.value
    app.input._receive(app.input, {"kind": "too large", "name": "film.mov", "bytes": 900_000_000}, [])
    assert "film.mov: 900 MB is too large" in app.output.value
    send(app, coded(BEAR), "bear.jpg")
    assert "too large" not in app.output.value
    assert app.input.max_bytes == MAX_BYTES


def test_a_fault_of_the_program_is_a_sentence_too(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.notebooks.trial.look", lambda *_: 1 / 0)
    send(app, coded(BEAR), "bear.jpg")
    assert "the fault is in this program" in app.output.value
    assert "Traceback" not in app.output.value


def test_a_model_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("anywidget")
    from train.notebooks.trial import trial_app

    shown = trial_app(str(tmp_path / "none.onnx"))
    assert "no such model file" in shown.value  # type: ignore[attr-defined]


def test_the_page_needs_no_torch() -> None:
    pytest.importorskip("anywidget")
    code = "import sys, train.notebooks.trial; print({'torch', 'fastai', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
