"""New models and keys from sticks and folders: what is taken, and that what is refused changes nothing."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from edge.detect.classifier import Classifier
from edge.errors import BearAlarmError, ModelError, OptionError, SignatureError
from edge.minisign import MAX_BYTES, SecretKey
from edge.update import fetch, install, keys
from edge.update.comments import comment_of_model
from edge.update.fetch import LARGEST
from tests.helpers import small_disk
from tests.helpers.signed_models import SERIAL, SignedModels, signed
from tests.helpers.tiny import model_bytes, tiny_card


@pytest.fixture
def device(tmp_path):
    return SignedModels(tmp_path)


def take(device, source=None, *, by_hand=False, **more):
    return install.update(str(source or device.stick), device.store, unattended=not by_hand, **more)


def refused(device, words, source=None, kind=SignatureError, **more):
    """Check that an update is refused with these words in one sentence, and that the store is as before."""
    before = device.contents
    with pytest.raises(BearAlarmError, match=words) as error:
        take(device, source, **more)
    assert type(error.value) is kind
    assert "\n" not in str(error.value)
    assert ".part" not in str(error.value)
    assert device.contents == before


def test_a_signed_model_of_a_stick_waits_and_is_whole_without_the_stick(device):
    file = device.model()
    data = file.read_bytes()
    outcome = take(device)
    entry = outcome.entry
    assert (outcome.kind, entry.serial, entry.key, entry.source) == (
        "waiting", SERIAL + 1, device.key.public.name, str(file),
    )  # fmt: skip
    assert device.store.read() == replace(
        device.store.read(), waiting=entry, current=None, previous=None, serial=SERIAL + 1
    )
    slot = device.store.slot(entry)
    assert slot.read_bytes() == data
    assert Classifier(slot).name == entry.name
    assert set(device.contents) == {"installed.json", slot.name, slot.name + ".minisig"}


@pytest.mark.needs_tool("minisign")
def test_what_is_installed_is_verified_by_a_stock_minisign(device):
    device.model()
    slot = device.store.slot(take(device).entry)
    subprocess.run(["minisign", "-Vm", slot, "-P", device.key.public.line], check=True, capture_output=True)


def test_the_same_signed_model_again_is_nothing_new(device):
    device.model()
    take(device)
    before = device.contents
    assert take(device).kind == "nothing"
    device.store.change(lambda held: held.switched(tested=True))
    assert take(device).kind == "nothing"
    device.store.change(lambda held: held.rolled_back())
    assert take(device).kind == "nothing"  # a model that was given up does not come back by itself
    assert {name: data for name, data in device.contents.items() if name != "installed.json"} == {
        name: data for name, data in before.items() if name != "installed.json"
    }


def test_a_person_takes_up_a_model_at_once_or_again(device):
    device.model()
    entry = take(device, by_hand=True, now=True).entry
    assert device.store.read().current == entry
    device.store.change(lambda held: held.rolled_back())
    assert take(device, by_hand=True, older=True).kind == "waiting"
    assert take(device, by_hand=True, now=True).kind == "installed"
    assert device.store.read().current == entry
    assert device.store.read().waiting is None


@pytest.mark.parametrize("damage", [lambda slot: slot.unlink(), lambda slot: slot.write_bytes(b"half")])
def test_a_damaged_file_in_the_store_is_replaced(device, damage):
    data = device.model().read_bytes()
    entry = take(device, by_hand=True, now=True).entry
    damage(device.store.slot(entry))
    assert take(device).kind == "installed"
    assert device.store.slot(entry).read_bytes() == data
    assert device.store.read().current == entry


def test_a_model_put_in_by_hand_is_signed_later_without_a_trial(device):
    file = device.model()
    entry = take(device, by_hand=True, now=True).entry
    device.store.change(lambda held: replace(held, serial=SERIAL, current=replace(entry, serial=None, key=None)))
    assert take(device).kind == "installed"
    assert device.store.read().current == replace(entry, source=str(file))


def test_a_person_may_take_a_lower_serial_and_nobody_else(device):
    device.model(SERIAL - 1)
    device.public(SecretKey.new(), SERIAL)
    before = device.contents
    outcome = take(device)  # a stick that stays plugged in is no problem that stands
    assert outcome.kind == "nothing"
    assert f"is not higher than {SERIAL}" in outcome.words
    assert device.contents == before
    refused(
        device,
        rf"serial {SERIAL - 1} of tiny@\w+ is not higher than {SERIAL}.*--serial {SERIAL + 1}.*--older",
        by_hand=True,
    )
    device.beside(device.stick / "bear.onnx").unlink()
    refused(
        device,
        rf"next.pub: its serial {SERIAL} is not higher than {SERIAL}.*--serial {SERIAL + 1}.*model trust",
        by_hand=True,
    )
    device.model(SERIAL - 1)
    assert take(device, by_hand=True, older=True).kind == "waiting"
    assert device.store.read().serial == SERIAL  # what was replaced does not come back by itself


def test_a_person_takes_back_a_serial_that_was_a_typing_error(device):
    device.model(10**15 - 1)
    waiting = take(device, by_hand=True).entry
    device.model()
    refused(device, "is not higher than", by_hand=True)
    assert f"; {waiting.name} is tried no longer" in take(device, by_hand=True, older=True).words
    device.model(SERIAL + 2)
    assert take(device).kind == "waiting"
    assert device.store.read().serial == SERIAL + 2


@pytest.mark.parametrize("copied", [model_bytes(replace(tiny_card(), licence="another")), b"half"])
@pytest.mark.parametrize("serial", [SERIAL, SERIAL + 1])
def test_another_file_beside_the_signature_of_a_model_that_was_here_is_no_success(device, serial, copied):
    file = device.model(serial)
    take(device, by_hand=True, older=True, now=True)
    if serial == SERIAL:  # it is replaced, and its file is gone
        device.store.change(lambda held: replace(held, current=None, previous=None))
    file.write_bytes(copied)
    words = rf"bear.onnx: the signature does not fit.*; its .minisig is that of tiny@\w+ \(serial {serial}\)"
    refused(device, words)
    refused(device, words, by_hand=True)


def test_a_model_that_a_person_removed_is_nothing_new_on_the_same_stick(device):
    device.model()
    take(device)
    device.store.change(lambda held: held.rolled_back())
    assert take(device).kind == "nothing"


def test_a_half_copied_newest_model_does_not_hide_a_good_one(device, caplog):
    device.model(SERIAL + 1, name="a.onnx")
    newest = device.model(SERIAL + 2, name="b.onnx")
    newest.write_bytes(newest.read_bytes()[:-1])
    assert take(device).entry.serial == SERIAL + 1
    assert "b.onnx: the signature does not fit" in caplog.text
    refused(device, "b.onnx: the signature does not fit")  # the good one is nothing new


def test_the_newest_model_of_a_folder_is_taken_whose_key_is_trusted(device, caplog):
    device.model(SERIAL + 1, name="a.onnx")
    device.model(SERIAL + 3, name="b.onnx")
    device.model(SERIAL + 2, name="c.onnx")
    device.model(SERIAL + 9, name="d.onnx", key=SecretKey.new())
    (device.stick / "._a.onnx.minisig").write_bytes(b"\0\5\26\7")  # a Mac leaves such files
    assert take(device).entry.serial == SERIAL + 3
    assert "d.onnx: signed by key" in caplog.text
    assert "._a" not in caplog.text


def test_a_new_key_comes_with_the_first_model_that_it_signed(device):
    new = SecretKey.new()
    device.public(new, SERIAL + 2)
    device.model(SERIAL + 1, key=new)
    outcome = take(device)
    assert (outcome.kind, outcome.entry.key) == ("waiting", new.public.name)
    assert f"key {new.public.name}, signed by key {device.key.public.name}, is trusted from now on" in outcome.words
    held = device.store.read()
    assert held.keys == (device.key.public.line, new.public.line)
    assert (held.serial, held.key_serial) == (SERIAL + 1, SERIAL + 2)
    assert take(device).kind == "nothing"


def test_keys_follow_each_other_on_one_stick(device):
    first, second = SecretKey.new(), SecretKey.new()
    device.public(second, SERIAL + 2, name="a.pub", key=first)
    device.public(first, SERIAL + 1, name="b.pub")
    assert take(device).kind == "trusted"
    assert device.store.read().keys == (first.public.line, second.public.line)


def test_a_key_that_came_is_named_where_the_model_beside_it_is_refused(device):
    new = SecretKey.new()
    device.public(new, SERIAL + 1)
    file = device.model(SERIAL + 2)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(SignatureError, match=f"does not fit; .*; key {new.public.name}, .* is trusted from now on"):
        take(device)
    assert device.store.read().keys[-1] == new.public.line


def test_a_name_that_is_no_text_is_taken_and_can_be_published(device):
    device.model(name=os.fsdecode(b"caf\xe9\n.onnx"))
    assert take(device).entry.source == f"{device.stick}/caf??.onnx"


def test_every_problem_of_a_folder_is_said(device, caplog):
    device.model(key=SecretKey.new())
    device.public(device.key, SERIAL + 1)
    device.beside(device.stick / "next.pub").write_text("cut off")
    device.public(device.key, SERIAL, name="mine.pub")
    refused(device, "next.pub.minisig: this is no whole signature")  # also beside a key that is trusted already
    assert "bear.onnx: signed by key" in caplog.text


def truncated(device):
    file = device.model()
    file.write_bytes(file.read_bytes()[:-100])


def key_by_nobody(device):
    device.public(new := SecretKey.new(), SERIAL + 1, key=new)


@pytest.mark.parametrize(
    ("brought", "words"),
    [
        (truncated, r"bear.onnx: the signature does not fit; the file is truncated or was changed"),
        (key_by_nobody, "which is not trusted here"),
        (
            lambda device: device.model(comment=comment_of_model(f"tiny@{'0' * 12}", 9, "0" * 64)),
            "names tiny@0{12}, but",
        ),
        (lambda device: device.model(SERIAL + 1001), f"serial {SERIAL + 1001} is more than 1000 higher than {SERIAL}"),
        (lambda device: device.public(SecretKey.new(), SERIAL + 1001), "is more than 1000 higher"),
    ],
)
def test_what_is_not_rightly_signed_is_refused_and_nothing_changes(device, brought, words):
    brought(device)
    refused(device, words)


def test_the_card_must_be_the_one_that_was_signed(device):
    file = device.model()
    right = device.beside(file).read_text().splitlines()[2].removeprefix("trusted comment: ")
    signed(file, right.partition("card:")[0] + f"card:{'0' * 64}", device.key)
    refused(device, "its signature names another card than the file has")


def test_the_same_serial_with_another_file_is_refused_also_for_a_person(device):
    device.model()
    take(device)
    device.model(card=replace(tiny_card(), licence="another"))
    refused(device, rf"serial {SERIAL + 1} is that of tiny@\w+, which is installed, and this is another file")
    refused(device, "sign it with a higher serial", older=True, by_hand=True)


def wrong_answers():
    card = tiny_card()
    return replace(card, golden=(replace(card.golden[0], probabilities=card.golden[1].probabilities), card.golden[1]))


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (wrong_answers(), r"bear.onnx: this processor computes the model wrongly \(golden vectors differ"),
        (replace(tiny_card(), card_version=99), "its card is version 99 and this bear-alarm reads version 2"),
    ],
)
def test_a_model_that_does_not_work_here_is_refused(device, card, words):
    device.model(card=card)
    refused(device, words, kind=ModelError)


def test_files_that_are_no_models_are_refused(device):
    device.model(data=model_bytes(None))
    refused(device, r"bear.onnx: this ONNX file carries no bear-alarm card", kind=ModelError)
    device.model(data=b"no network")
    refused(device, "onnxruntime cannot load it", kind=ModelError)


def test_a_device_that_trusts_no_key_says_how_to_trust_one(device):
    device.model()
    device.store.change(lambda held: replace(held, keys=()))
    refused(device, "no key is trusted on this device yet; .* `bear-alarm model trust KEY.pub`")


def test_a_folder_without_anything_signed_is_refused(device):
    refused(device, "no signed model or key is here", kind=OptionError)
    device.beside(device.model()).unlink()
    refused(device, "no signed model or key is here", kind=OptionError)
    device.beside(key := device.public(SecretKey.new(), SERIAL + 1)).unlink()
    refused(device, "next.pub: no signature is beside it; a person trusts it", key, kind=OptionError)
    key.write_text(device.key.locked("a passphrase", operations=1 << 15, memory=1 << 20))
    refused(device, "this is a private key, and none lies on a device", key, kind=OptionError)
    refused(device, "give the topic itself, mqtt://HOST/TOPIC", "mqtt", kind=OptionError)
    refused(device, r"bear.onnx.minisig: there is no such file", device.stick / "bear.onnx", kind=OptionError)
    refused(device, "there is no such file; is the stick mounted", device.stick / "none", kind=OptionError)


@pytest.mark.parametrize("source", ["\0", "https://[::1", "~nobody-of-this-name/x.onnx"])
def test_what_can_be_no_source_is_named(device, source):
    refused(device, "is no folder, file or address; correct it", source, kind=OptionError)


def test_a_copy_is_never_written_through_a_link(device, monkeypatch):
    device.model()
    theirs = device.stick.parent / "theirs"
    theirs.write_text("whole")
    believed = keys.believed

    def meanwhile(*given):
        (device.store.folder / "new.part").symlink_to(theirs)
        return believed(*given)

    monkeypatch.setattr(install, "believed", meanwhile)
    with pytest.raises(OptionError, match=r"models: cannot be written \(File exists\)"):
        take(device)
    assert theirs.read_text() == "whole"


def test_links_and_pipes_are_never_read(device):
    file = device.model()
    elsewhere = file.rename(device.stick.parent / "elsewhere.onnx")
    file.symlink_to(elsewhere)
    refused(device, r"bear.onnx: is no plain file", kind=OptionError)
    file.unlink()
    os.mkfifo(file)
    refused(device, r"bear.onnx: is no plain file", kind=OptionError)


def test_a_file_of_any_size_is_not_copied(device):
    file = device.model()
    with file.open("r+b") as opened:
        opened.truncate(LARGEST + 1_000_000)
    refused(device, r"bear.onnx: more than 500,000,000 bytes are too many for such a file", kind=ModelError)
    file.unlink()
    key = device.public(SecretKey.new(), SERIAL + 1)
    with key.open("r+b") as opened:
        opened.truncate(MAX_BYTES + 1)
    with pytest.raises(ModelError, match=r"next.pub: more than 4,096 bytes"):
        take(device, key)


def test_two_updates_do_not_meet(device):
    device.model()
    with device.store.updating():
        refused(device, "another program is changing the models", kind=OptionError)


def test_what_an_update_left_half_done_is_removed(device):
    device.model()
    (device.store.folder / "123.part").write_bytes(b"half")
    take(device)
    assert not list(device.store.folder.glob("*.part"))


# What only a disk of its own shows.


def pulled_out(folder):
    """A stick whose files can be listed and no longer read: the memory of a process, where nothing is mapped."""
    device = SignedModels(Path(folder))
    fetch.SPARE = 0
    file = device.model()
    subprocess.run(["mount", "--bind", f"/proc/{os.getpid()}/mem", file], check=True)
    return words_of(device)


def full(folder):
    """A disk that fills up meanwhile, though there was room at first."""
    device = SignedModels(Path(folder))
    device.model()
    fetch.SPARE = -(10**9)
    small_disk.fill(folder)
    filler = Path(folder) / "filler"
    os.truncate(filler, filler.stat().st_size - 4096)
    assert (device.stick / "bear.onnx").stat().st_size > 4096  # a part of it is written
    return words_of(device)


def small(folder):
    """A disk with less room than the alarm's journal needs."""
    device = SignedModels(Path(folder))
    device.model()
    return words_of(device)


def words_of(device):
    before = device.contents
    try:
        take(device)
    except OptionError as error:
        return str(error), device.contents == before
    return None


@pytest.mark.needs_tool("unshare")
@pytest.mark.parametrize(
    ("disk", "words"),
    [
        (pulled_out, r"bear.onnx: cannot be read (Input/output error); put the stick in again"),
        (full, "models: cannot be written (No space left on device)"),
        (small, "models: too little room on the disk, of which 20 MB stay free"),
    ],
)
def test_a_stick_pulled_out_and_a_full_disk_change_nothing(tmp_path, disk, words):
    said, same = small_disk.there(disk, tmp_path / "disk", 1000)
    assert words in said
    assert same
