"""The Learner that a run keeps works as the fastai book shows, and answers as the file exported from it does."""

from __future__ import annotations

import ast
import json
import pickletools
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("fastai")
pytest.importorskip("onnxscript")

import matplotlib.pyplot as plt
from fastai.interpret import ClassificationInterpretation
from fastai.learner import load_learner
from fastai.vision.core import PILImage
from PIL import Image

from edge.detect.classifier import Classifier
from edge.errors import CatalogError, PictureError
from edge.pictures import read_picture
from edge.schema import WHOLE, Region
from train.data.pictures import ALARM_LABELS, BEAR_ANY, LABELS, TRAINING_LABELS
from train.learn import run as runs
from train.learn.network import BearNet, CalibratedNet
from train.learn.run import read_run

# As somebody types it who comes from the book: nothing of this project is imported.
FRESH = """
import sys
from fastai.learner import load_learner
learn = load_learner(sys.argv[1])
with learn.no_bar():
    label, index, probabilities = learn.predict(sys.argv[2])
    learn.show_results()
print([label, int(index), probabilities.tolist()])
"""


@pytest.fixture
def folder(trained_run: Path) -> Path:
    """A run trained for a moment on painted pictures."""
    return trained_run / "run"


@pytest.fixture
def learn(folder: Path) -> Iterator[Any]:
    """The Learner as the book loads it; figures are drawn nowhere."""
    plt.switch_backend("Agg")
    found = load_learner(folder / "learner.pkl")
    with found.no_bar():
        yield found
    plt.close("all")


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A picture that is not square and larger than the input, with every pixel its own."""
    file = tmp_path / "no bear" / "wide.png"
    file.parent.mkdir()
    cv2.imwrite(str(file), np.random.default_rng(1).integers(0, 255, (90, 150, 3), np.uint8))
    return file


def files_of(learn: Any) -> list[Path]:
    """The tuning pictures that the Learner names."""
    return [example.file for example in learn.dls.valid.items]


@pytest.mark.slow
def test_a_fresh_process_predicts_and_shows_with_nothing_of_ours_imported(folder: Path, learn: Any, wide: Path) -> None:
    words = [sys.executable, "-W", "ignore", "-c", FRESH, str(folder / "learner.pkl"), str(wide)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    label, index, probabilities = ast.literal_eval(done.stdout.splitlines()[-1])
    assert LABELS[index] == label
    assert np.argmax(probabilities) == index
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(learn.predict(wide)[2], probabilities, atol=1e-5)


def test_everything_in_the_pickle_is_found_by_its_name(folder: Path) -> None:
    with zipfile.ZipFile(folder / "learner.pkl") as pickled:
        content = pickled.read(next(name for name in pickled.namelist() if name.endswith("data.pkl")))
    names = {str(argument) for code, argument, _ in pickletools.genops(content) if code.name == "GLOBAL"}
    assert "train.learn.predict OpenAsAlarm" in names
    by_value = ("__main__", "cloudpickle.cloudpickle _make")
    assert not [name for name in names if name.startswith(by_value)]


def test_the_vocabulary_has_a_probability_each_as_every_demo_page_expects(learn: Any, wide: Path) -> None:
    vocab = learn.dls.vocab
    _, _, probabilities = learn.predict(PILImage.create(wide))
    assert [vocab[n] for n in range(len(probabilities))] == list(LABELS)
    assert len(vocab) == len(probabilities) == learn.dls.c


def test_predict_takes_whatever_the_book_gives_it(learn: Any, wide: Path) -> None:
    rgb = np.asarray(Image.open(wide))
    expected = learn.predict(wide)[2]
    for item in (str(wide), wide.read_bytes(), PILImage.create(wide), rgb, Image.open(wide).convert("RGBA")):
        torch.testing.assert_close(learn.predict(item)[2], expected)
    with pytest.raises(PictureError, match="no such picture"):
        learn.predict(wide.with_name("gone.jpg"))


def test_a_picture_that_lies_on_its_side_is_turned_as_the_alarm_turns_it(learn: Any, wide: Path) -> None:
    image, turned = Image.open(wide), wide.with_name("turned.png")
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(turned, exif=exif)
    assert read_picture(turned).shape != read_picture(wide).shape
    for item in (turned, Image.open(turned), PILImage.create(turned)):
        torch.testing.assert_close(learn.predict(item)[2], learn.predict(read_picture(turned)[..., ::-1].copy())[2])


def test_the_answers_are_those_of_the_exported_file(learn: Any, wide: Path, exported_model: Path) -> None:
    exact = Classifier(exported_model / "bear.fp32.onnx")
    for file in (wide, *files_of(learn)[:20]):
        [score] = exact.score(read_picture(file), [Region(WHOLE, "scan")])
        np.testing.assert_allclose(learn.predict(file)[2], score.probabilities, atol=1e-4)
    # What int8 may differ by is asserted in tests/export/test_graph_run.py, on the crops that its card speaks of.
    small = Classifier(exported_model / "bear.onnx")
    assert small.card.temperature == exact.card.temperature == learn.model.temperature


def test_the_temperature_is_the_one_that_the_run_states(folder: Path, learn: Any) -> None:
    stated = json.loads((folder / "metrics.json").read_text())
    assert stated["temperature"] == learn.model.temperature == read_run(folder).temperature
    assert stated["frame_temperature"] == learn.model.frame_temperature == read_run(folder).frame.temperature
    assert stated["temperature"] != 1


def test_interpretation_shows_the_tuning_part_or_files_of_ones_own(learn: Any) -> None:
    own = ClassificationInterpretation.from_learner(learn)
    assert own.confusion_matrix().shape == (len(LABELS), len(LABELS))
    assert own.confusion_matrix().sum() == len(files_of(learn))
    own.plot_confusion_matrix()
    own.plot_top_losses(4)
    losses, _ = own.top_losses()
    files = files_of(learn)
    given = ClassificationInterpretation.from_learner(learn, dl=learn.dls.test_dl(files, with_labels=True))
    np.testing.assert_allclose(given.top_losses()[0], losses, atol=1e-5)
    np.testing.assert_array_equal(given.confusion_matrix(), own.confusion_matrix())
    given.plot_top_losses(2)


def test_predictions_of_files_are_asked_for_in_one_go(learn: Any) -> None:
    files = files_of(learn)[:5]
    probabilities, nothing = learn.get_preds(dl=learn.dls.test_dl(files))
    assert probabilities.shape == (5, len(LABELS))
    assert nothing is None
    torch.testing.assert_close(probabilities[3], learn.predict(files[3])[2])


def test_show_results_and_summary_do_not_need_a_screen(learn: Any) -> None:
    learn.show_results(max_n=4)
    assert len(plt.gcf().axes) == 4
    assert plt.gcf().axes[0].get_title().splitlines()[0] in LABELS
    assert "CalibratedNet" in str(learn.summary())


def test_it_is_exported_again_and_answers_the_same(learn: Any, wide: Path, tmp_path: Path) -> None:
    learn.path = tmp_path
    learn.export("again.pkl")
    again = load_learner(tmp_path / "again.pkl")
    with again.no_bar():
        torch.testing.assert_close(again.predict(wide)[2], learn.predict(wide)[2])
        again.show_results(max_n=2)


def test_a_bear_of_no_known_species_is_a_truth_and_never_an_answer(learn: Any, wide: Path) -> None:
    file = wide.parent.parent / "bears" / wide.name
    file.parent.mkdir()
    wide.rename(file)
    dl = learn.dls.test_dl([file], with_labels=True)
    _, truth, losses = learn.get_preds(dl=dl, with_loss=True)
    assert [TRAINING_LABELS[int(number)] for number in truth] == [BEAR_ANY]
    _, _, probabilities = learn.predict(file)
    bear = float(probabilities[[LABELS.index(label) for label in ALARM_LABELS]].sum())
    assert float(losses[0]) == pytest.approx(-np.log(bear), abs=1e-4)
    learn.show_results(dl=dl)
    assert plt.gcf().axes[0].get_title().splitlines()[0] == BEAR_ANY


def test_a_folder_that_names_no_label_is_one_sentence(learn: Any, wide: Path) -> None:
    file = wide.rename(wide.parent.parent / "mine.png")
    with pytest.raises(CatalogError, match="none of its folders is named by a label"):
        learn.dls.test_dl([file], with_labels=True).one_batch()


def test_a_learner_of_an_older_version_is_one_sentence(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = BearNet(torch.nn.Flatten(), torch.nn.Linear(3, 1000), LABELS, ALARM_LABELS)
    monkeypatch.setattr(runs, "load_learner", lambda _: SimpleNamespace(model=net))
    with pytest.raises(CatalogError, match=r"learner\.pkl: an older version .* made it.*; train the run again"):
        read_run(folder)


def test_the_temperature_divides_the_logits() -> None:
    net = BearNet(torch.nn.Flatten(), torch.nn.Linear(3, 1000), LABELS, ALARM_LABELS)
    pictures = torch.randn(4, 3, 1, 1)
    torch.testing.assert_close(CalibratedNet(net, 2.0, 1.0)(pictures), net.label_logits(net(pictures)) / 2)
