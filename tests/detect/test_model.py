"""The model file: which one is used, what is refused and with which sentence, and ``bear-alarm model``."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from edge.cli import model as command
from edge.detect import classifier as models
from edge.detect.classifier import Classifier
from edge.errors import BearAlarmError, ModelError, OptionError
from edge.minisign import SecretKey
from edge.model_store import Entry, ModelStore
from edge.update.trial import TrialCounts, write_counts
from tests.helpers.tiny import LABELS, SIZE, WEIGHTS, tiny_answer, tiny_card, write_tiny_model


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """A user with nothing chosen, whatever this machine's user has."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "own state"))
    monkeypatch.chdir(tmp_path)  # where no config lies
    monkeypatch.delenv(models.ENVIRONMENT, raising=False)
    return tmp_path / "config" / "bear-alarm"


def refused(path) -> str:
    """The one sentence a model is refused with."""
    with pytest.raises(ModelError) as caught:
        Classifier(path)
    sentence = str(caught.value)
    assert sentence.startswith(str(path))
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(("data", "why"), [(b"", "empty (0 bytes)"), (b"\x08\x09garbage" * 50, "truncated or not")])
def test_bytes_that_are_no_model(tmp_path, data, why):
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    assert why in refused(path)


def test_a_missing_model(tmp_path):
    assert "no such model file" in refused(tmp_path / "gone.onnx")


def test_a_truncated_model(tmp_path):
    path = write_tiny_model(tmp_path / "m.onnx", tiny_card())
    whole = path.read_bytes()
    for part in (0.3, 0.6, 0.99):
        path.write_bytes(whole[: int(len(whole) * part)])
        refused(path)


def changed(**fields: object) -> str:
    """The tiny card's JSON with fields as given."""
    return json.dumps(asdict(tiny_card()) | fields)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "carries no bear-alarm card"),
        ("{", "damaged"),
        ("[]", "damaged"),
        (changed(card_version=3), "its card is version 3"),
        (changed(labels=LABELS[:4], golden=[]), "no golden vectors"),
        (changed(labels=(*LABELS[:4], "yeti")), None),
        (changed(alarm_labels=("yeti",)), "'yeti' is not among its labels"),
        (changed(alarm_labels=LABELS), "every label raises an alarm"),
        (changed(input_sizes=(33,)), "not multiples of 32"),
        (changed(thresholds={}), "no threshold for mode"),
        (changed(prior=0.0), "prior 0.0"),
        (changed(golden_tolerance=0.0), "golden tolerance 0.0"),
        (changed(golden_tolerance=0.9), "golden tolerance 0.9"),
        (changed(golden_tolerance=float("nan")), "golden"),
        (changed(crop=asdict(tiny_card().crop) | {"context": 0.5}), "crop context 0.5"),
        (changed(crop=asdict(tiny_card().crop) | {"square": False}), "not square"),
        (changed(crop=asdict(tiny_card().crop) | {"shrink": "INTER_CUBIC"}), "INTER_CUBIC"),
        (changed(golden=[asdict(tiny_card().golden[0]) | {"png_base64": "abc"}]), "golden vectors cannot be computed"),
        (changed(golden=[asdict(tiny_card().golden[0]) | {"png_base64": ""}]), "golden vector"),
        (changed(temperature="warm"), "temperature"),
    ],
)
def test_a_card_that_cannot_be(tmp_path, text, why):
    path = write_tiny_model(tmp_path / "m.onnx", None, text=text)
    if why is None:  # any name will do as a label, as long as the card agrees with itself
        assert Classifier(path).card.labels[-1] == "yeti"
    else:
        assert why in refused(path)


def test_labels_that_the_network_does_not_have(tmp_path):
    golden = tuple(replace(vector, probabilities=vector.probabilities[:4]) for vector in tiny_card().golden)
    path = write_tiny_model(tmp_path / "m.onnx", replace(tiny_card(), labels=LABELS[:4], golden=golden))
    assert "golden vectors cannot be computed" in refused(path)


def test_a_network_that_computes_something_else(tmp_path):
    path = write_tiny_model(tmp_path / "m.onnx", tiny_card(), weights=np.roll(WEIGHTS, 1, axis=1))
    assert "computes the model wrongly" in refused(path)


def test_the_committed_network_answers_by_colour(tmp_path):
    classifier = Classifier(write_tiny_model(tmp_path / "m.onnx", tiny_card()))
    crops = np.random.default_rng(3).integers(0, 255, (6, SIZE, SIZE, 3), np.uint8)
    assert classifier(crops)[0] == pytest.approx(tiny_answer(crops), abs=1e-5)


def test_the_order_in_which_a_model_is_found(tmp_path, monkeypatch, own_folder):
    named, environment, bundled = tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path / "c.onnx"
    for path in (named, environment, bundled):
        path.write_bytes(b"x")
    monkeypatch.setattr(models, "BUNDLED", bundled)
    state = tmp_path / "state"
    assert models.find(None, state) == bundled
    own_folder.mkdir(parents=True)
    (own_folder / "model.onnx").write_bytes(b"x")  # an older version's
    assert models.find(None, state) == own_folder / "model.onnx"
    installed = write_tiny_model(tmp_path / "m.onnx", tiny_card())
    command.use(str(installed), state=state)
    slot = state / "models" / f"{models.file_digest(installed)}.onnx"
    assert models.find(None, state) == slot
    assert models.find(None, tmp_path / "other state") == own_folder / "model.onnx"
    slot.unlink()
    with pytest.raises(ModelError, match=r"the installed model is missing; run `bear-alarm model rollback`"):
        models.find(None, state)
    monkeypatch.setenv(models.ENVIRONMENT, str(environment))
    assert models.find(None, state) == environment
    assert models.find(str(named), state) == named


def test_a_model_that_is_not_there_is_reported(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match=r"gone\.onnx: no such model file \(--model\)"):
        models.find(str(tmp_path / "gone.onnx"))
    with pytest.raises(ModelError, match="names a folder"):
        models.find(str(tmp_path))
    monkeypatch.setattr(models, "BUNDLED", tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="ships no model"):
        models.find()


def test_use_keeps_the_model_before_and_rollback_goes_back_to_it(tmp_path, monkeypatch, caplog):
    state, ships = tmp_path / "state", write_tiny_model(tmp_path / "ships.onnx", tiny_card())
    monkeypatch.setattr(models, "BUNDLED", ships)
    first, second = (write_tiny_model(tmp_path / f"{n}.onnx", replace(tiny_card(), name=n)) for n in ("1st", "2nd"))

    def in_use():
        return models.load(None, state).card.name

    with pytest.raises(ModelError, match="no model before this one"):
        command.rollback(state=state)
    command.use(str(first), state=state)
    command.use(str(second), state=state)
    assert in_use() == "2nd"
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(second.read_bytes()[:-100])
    for wrong in (bad, tmp_path / "gone.onnx", tmp_path):
        with pytest.raises(ModelError, match=str(wrong)):
            command.use(str(wrong), state=state)
    assert in_use() == "2nd"
    command.rollback(state=state)
    assert in_use() == "1st"
    command.rollback(state=state)
    assert in_use() == "2nd"
    command.use(None, bundled=True, state=state)
    assert in_use() == "tiny"
    command.rollback(state=state)
    assert in_use() == "2nd"
    assert caplog.text == ""
    for given in (None, str(first)):
        with pytest.raises(OptionError, match="name one model file"):
            command.use(given, bundled=given is not None, state=state)
    monkeypatch.setenv(models.ENVIRONMENT, str(ships))
    command.use(str(first), state=state)
    assert "names another model, which goes before" in caplog.text


def test_rollback_takes_no_model_whose_bytes_were_changed(tmp_path):
    state = tmp_path / "state"
    paths = [write_tiny_model(tmp_path / f"{n}.onnx", replace(tiny_card(), name=n)) for n in ("1st", "2nd")]
    for path in paths:
        command.use(str(path), state=state)
    store = ModelStore.of(state)
    before = store.read()
    assert before.previous
    store.slot(before.previous).write_bytes(paths[1].read_bytes())  # it would load
    with pytest.raises(ModelError, match="its bytes were changed"):
        command.rollback(state=state)
    assert store.read() == before


def test_rollback_does_what_it_said_or_nothing(tmp_path, monkeypatch):
    state = tmp_path / "state"
    command.use(str(write_tiny_model(tmp_path / "1st.onnx", tiny_card())), state=state)
    store, new, take = ModelStore.of(state), Entry("b" * 64, "b"), models.take

    def meanwhile(*given):
        store.change(lambda held: replace(held, waiting=new))
        return take(*given)

    monkeypatch.setattr(models, "take", meanwhile)
    with pytest.raises(OptionError, match="the models were changed meanwhile"):
        command.rollback(state=state)
    assert store.read().waiting == new


def test_use_says_which_model_is_tried_no_longer(tmp_path, capsys):
    state = tmp_path / "state"
    ModelStore.of(state).change(lambda held: replace(held, waiting=Entry("b" * 64, "bear@b")))
    command.use(str(write_tiny_model(tmp_path / "1st.onnx", tiny_card())), state=state)
    assert "bear@b is removed, and is no longer tried\n" in capsys.readouterr().out


def test_the_model_an_older_version_chose_stays_until_another_is_used(tmp_path, own_folder, monkeypatch):
    state = tmp_path / "state"
    monkeypatch.setattr(models, "BUNDLED", write_tiny_model(tmp_path / "ships.onnx", tiny_card()))
    own_folder.mkdir(parents=True)
    old = write_tiny_model(own_folder / "model.onnx", replace(tiny_card(), name="old"))
    new = write_tiny_model(tmp_path / "new.onnx", replace(tiny_card(), name="new"))
    command.use(str(new), state=state)
    assert models.load(None, state).card.name == "new"
    command.rollback(state=state)
    assert models.load(None, state).path == old
    command.use(None, bundled=True, state=state)
    assert models.find(None, state) == models.BUNDLED
    assert [path.name for path in own_folder.iterdir()] == ["model.previous.onnx"]  # nothing is lost


def test_a_model_gone_bad_gives_way_to_the_one_before_then_to_the_one_that_ships(tmp_path, monkeypatch, caplog):
    state, folder = tmp_path / "state", tmp_path / "state" / "models"
    monkeypatch.setattr(models, "BUNDLED", write_tiny_model(tmp_path / "ships.onnx", tiny_card()))
    paths = [write_tiny_model(tmp_path / f"{n}.onnx", replace(tiny_card(), name=n)) for n in ("1st", "2nd")]
    for path in paths:
        command.use(str(path), state=state)
    before, last = (folder / f"{models.file_digest(path)}.onnx" for path in paths)
    running = models.load(None, state)
    assert models.load(None, state, loaded=running) is running
    for bad, why in ((b"", "0 bytes"), (paths[0].read_bytes(), "bytes were changed"), (None, "no such model file")):
        caplog.clear()
        last.unlink()
        if bad is not None:
            last.write_bytes(bad)
        found = models.load(None, state, loaded=running)
        assert found.path == before
        assert why in caplog.text
        assert f"going on with {before}" in caplog.text
    assert models.load(None, state, loaded=found) is found
    with pytest.raises(BearAlarmError, match="no such model file"):
        models.load(str(last), state)  # what a person names is not replaced
    before.write_bytes(b"no model")
    assert models.load(None, state).path == models.BUNDLED
    models.BUNDLED.write_bytes(b"")
    with pytest.raises(ModelError, match=r"ships\.onnx.*0 bytes"):
        models.load(None, state)


def test_what_is_installed_is_listed(tmp_path, capsys):
    state, sha256 = tmp_path / "state", "ab" * 32
    command.show(installed=True, state=state)
    assert "in use        the model that ships" in capsys.readouterr().out
    path = write_tiny_model(tmp_path / "m.onnx", tiny_card())
    command.use(str(path), state=state)
    key = SecretKey.new().public
    tried = Entry(sha256, "bear@abab", serial=7, key=key.name, source="/media/stick")
    store = ModelStore.of(state)
    store.change(lambda each: replace(each, waiting=tried, serial=7, keys=(key.line,)))
    capsys.readouterr()
    command.show(installed=True, state=state)
    assert "is tried      nothing has been counted yet" in capsys.readouterr().out
    counts = TrialCounts(frames=40, hours=3.0, both=2, only_new=1)
    write_counts(store, sha256, Classifier(path).digest, "", counts)
    command.show(installed=True, state=state)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"in use {Classifier(path).name}, by hand, without a signature, from {path}" in shown
    assert "before it the model that ships" in shown
    assert f"bear@abab, serial 7, signed by {key.name}, from /media/stick" in shown
    assert counts.words in shown
    assert f"trusts the key {key.name}" in shown
    command.show(installed=True, state=state, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["waiting"], found["tried"]) == (asdict(tried), asdict(counts))
    command.rollback(state=state)
    assert "bear@abab is removed" in capsys.readouterr().out
    assert store.read().waiting is None
    with pytest.raises(OptionError, match="without a MODEL"):
        command.show(str(path), installed=True, state=state)


def test_show_and_check_tell_what_the_card_says(tmp_path, capsys):
    path = str(write_tiny_model(tmp_path / "m.onnx", tiny_card()))
    command.show(path)
    shown = capsys.readouterr().out
    told = "For tests only.", "CC0", "0.700: recall 0.900 of 20 bear pictures", "field 120", "golden vectors"
    side = tiny_card().input_sizes[0]
    assert f"uint8, NHWC [N, {side}, {side}, 3], BGR, 0 to 255; scaling is inside" in " ".join(shown.split())
    for words in told:
        assert words in shown
    assert f"  SHA-256       {Classifier(path).digest}\n" in shown
    command.show(path, as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["card"]["labels"] == list(LABELS)
    assert facts["card"]["digests"]["table"] == "0" * 64
    assert facts["float_fallback"] is False
    command.check(path)
    assert "good" in capsys.readouterr().out


def test_show_fits_a_screen_however_long_the_card_is(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    long = replace(
        tiny_card(),
        licence="not free to use: " + "many words of many people, " * 4,
        counts_by_source={f"somebody/a-long-name-of-a-data-set-{n}": n for n in range(30)},
        counts_by_licence={f"licence {n}, with a proviso": n for n in range(9)},
        digests={"a_very_long_name_of_a_digest_sha256": "2" * 64},
        parity=replace(tiny_card().parity, int8_max_abs_dp=0.3, int8_decision_agreement=0.98, int8_recall_loss=-0.0169),
    )
    command.show(str(write_tiny_model(tmp_path / "m.onnx", long)))
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) <= 32
    assert max(map(len, shown[1:])) <= 80  # the first names the file
    assert "1.69 points gained" in "\n".join(shown)
    assert "and 28 more" in " ".join(" ".join(shown).split())


def test_points_of_recall_are_gained_or_lost():
    assert command.points(-0.0169) == "1.69 points gained"
    assert command.points(0.012) == "1.20 points lost"
    assert command.points(-0.0083, bound=True) == "at least 0.83 points gained"
    assert command.points(0.0, bound=True) == "at most 0.00 points lost"


def test_the_shipped_model_is_good():
    classifier = Classifier(models.BUNDLED)
    assert classifier.golden_error <= classifier.card.golden_tolerance
    assert classifier.card.notice
