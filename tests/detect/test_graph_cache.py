"""The optimised graph that is kept for the next start: when it is taken, when it is made again, and by whom."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest

from edge.detect import classifier as models
from edge.detect import graph_cache
from edge.detect.classifier import BUNDLED, Classifier
from tests.helpers.tiny import WEIGHTS, tiny_card, write_tiny_model


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user with an empty cache."""
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bear-alarm"


@pytest.fixture
def taken(monkeypatch):
    """The graph that each session was made of; None: of the model file, which onnxruntime had to optimise."""
    found, make = [], models._session

    def session(path, threads, graph=None, **more):
        found.append(graph and graph.read_bytes())
        return make(path, threads, graph, **more)

    monkeypatch.setattr(models, "_session", session)
    return found


@pytest.fixture
def model(tmp_path):
    return write_tiny_model(tmp_path / "bear.onnx", tiny_card())


def test_the_second_start_takes_the_graph_of_the_first(folder, taken):
    first, second = (Classifier(BUNDLED, cached=True) for _ in range(2))
    (kept,) = folder.iterdir()  # nothing of the making is left over
    assert taken == [None, kept.read_bytes()]
    crops = np.random.default_rng(0).integers(0, 256, (3, first.size, first.size, 3), np.uint8)
    pictures = np.random.default_rng(1).integers(0, 256, (1, 256, 448, 3), np.uint8)
    answers = zip((*first(crops), *first.windows(pictures)), (*second(crops), *second.windows(pictures)), strict=True)
    for one, other in answers:
        np.testing.assert_array_equal(one, other)
    assert second.card == first.card
    Classifier(BUNDLED)
    assert taken[2] is None  # who does not ask for it, such as `model check`, gets the model itself


@pytest.mark.parametrize("how", ["bit", "cut", "writable"])
def test_a_graph_that_cannot_be_trusted_is_made_again(folder, taken, model, how):
    Classifier(model, cached=True)
    (kept,) = folder.iterdir()
    good = kept.read_bytes()
    if how == "writable":
        if sys.platform == "win32":
            pytest.skip("Windows has no such modes")
        kept.chmod(0o666)
    else:
        kept.write_bytes(good[:-1] if how == "cut" else bytes([good[0] ^ 1]) + good[1:])
    Classifier(model, cached=True)
    assert taken == [None, None]
    (again,) = folder.iterdir()
    Classifier(model, cached=True)
    assert taken[2] == again.read_bytes()


@pytest.mark.parametrize("how", ["answers", "card"])
def test_a_graph_of_another_model_gives_way_to_the_model(tmp_path, folder, taken, model, how):
    """Under this one's name, digest and all: with the same card, or with a card that it fulfils."""
    Classifier(model, cached=True)
    (kept,) = folder.iterdir()
    other = tmp_path / "other.ort"
    if how == "answers":
        strange = write_tiny_model(tmp_path / "strange.onnx", tiny_card(), weights=WEIGHTS[::-1])
    else:
        strange = write_tiny_model(tmp_path / "strange.onnx", replace(tiny_card(), name="another"))
    models._session(strange, 1, keep=other, in_float=False)
    cache = graph_cache.GraphCache(models.file_digest(model))
    kept.unlink()
    with other.open("rb") as file:
        wrong = folder / cache._named(hashlib.file_digest(file, "sha256").hexdigest(), in_float=False)
    wrong.write_bytes(other.read_bytes())
    found = Classifier(model, cached=True)
    assert found.golden_error < 0.01
    assert found.card == tiny_card()
    assert taken[-2:] == [other.read_bytes(), None]
    assert not wrong.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no such limits")
def test_nothing_is_kept_where_the_disk_is_full(folder, taken, model):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        assert Classifier(model, cached=True).golden_error < 0.01
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(folder.iterdir())
    Classifier(model, cached=True)
    Classifier(model, cached=True)
    assert taken[-1]


def test_a_processor_that_computes_int8_wrongly_finds_its_graph_in_float_again(folder, taken, monkeypatch, caplog):
    whole = Classifier._golden_error
    monkeypatch.setattr(Classifier, "_golden_error", lambda self: whole(self) if self.fallback else 0.9)
    first = Classifier(BUNDLED, cached=True)
    (kept,) = folder.iterdir()
    second = Classifier(BUNDLED, cached=True)
    assert taken == [None, None, kept.read_bytes()]
    assert list(folder.iterdir()) == [kept]
    assert [record.message for record in caplog.records] == [
        "this processor computes int8 wrongly; running in float"
    ] * 2
    assert first.fallback
    assert second.fallback
    crops = np.random.default_rng(0).integers(0, 256, (3, first.size, first.size, 3), np.uint8)
    for one, other in zip(first(crops), second(crops), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root can act for others")
def test_root_changes_nothing_of_another_user(tmp_path, folder, taken, model):
    Classifier(model, cached=True)
    (kept,) = folder.iterdir()
    for path in (tmp_path, folder.parent, folder, kept):
        os.chown(path, 1000, 1000)
    Classifier(model, cached=True)
    assert taken == [None, None]
    assert [(path, path.stat().st_uid) for path in folder.iterdir()] == [(kept, 1000)]
    shutil.rmtree(folder.parent)
    Classifier(model, cached=True)
    assert [path.stat().st_uid for path in (folder.parent, folder)] == [1000, 1000]  # what is made is the user's
    assert not list(folder.iterdir())


def test_another_onnxruntime_or_processor_makes_another_graph(tmp_path, folder, taken, model, monkeypatch):
    for number, change in enumerate([
        lambda: None,
        lambda: monkeypatch.setattr(ort, "__version__", "0.1"),
        lambda: monkeypatch.setattr(ort, "get_build_info", lambda: "another"),
        lambda: monkeypatch.setattr(graph_cache, "CPUINFO", tmp_path / "cpuinfo"),
        lambda: (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU part\t: 0xd0b\n"),
    ], 1):  # fmt: skip
        change()
        Classifier(model, cached=True)
        assert taken == [None] * number
        assert len(list(folder.iterdir())) == 1  # those of before are gone
    (tmp_path / "cpuinfo").write_text(
        "processor\t: 3\ncpu MHz\t: 1500\nFeatures\t: fp asimd asimddp\nCPU part\t: 0xd0b\n"
    )
    Classifier(model, cached=True)
    assert taken[-1] is not None


def test_graphs_of_other_models_do_not_pile_up(tmp_path, folder):
    for number in range(graph_cache.MOST + 2):
        Classifier(write_tiny_model(tmp_path / "m.onnx", replace(tiny_card(), name=f"m{number}")), cached=True)
    assert len(list(folder.iterdir())) == graph_cache.MOST


@pytest.mark.parametrize("how", ["a file in its place", "open to others", "no home"])
def test_where_nothing_can_be_kept_the_model_is_loaded_without_a_word(
    tmp_path, folder, model, how, monkeypatch, caplog
):
    if how == "no home":
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError))
    elif how == "open to others":
        if sys.platform == "win32":
            pytest.skip("Windows has no such modes")
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    else:
        folder.parent.write_text("")
    assert Classifier(model, cached=True).golden_error < 0.01
    assert not caplog.records
    assert how == "no home" or not folder.exists() or not list(folder.iterdir())


def test_a_service_keeps_it_in_its_state(tmp_path, folder, taken, model, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    Classifier(model, cached=True)
    assert len(list((tmp_path / "state" / "cache").iterdir())) == 1
    assert not folder.exists()
