"""The keys that a device trusts: who may name the next one, and what an old file can do."""

from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import OptionError, SignatureError
from edge.minisign import PublicKey, SecretKey, Signature
from edge.model_store import Entry, Installed
from edge.update.comments import comment_of_key, comment_of_model, parse_comment
from edge.update.keys import MAX_JUMP, accepted, believed, check_jump, distrust, lost, signer_of, trust, trusted

FIRST, SECOND, THIRD, STRANGER = (SecretKey.new() for _ in range(4))
CARD = "ab" * 32


def trusting(*keys, serial=0):
    return Installed(keys=tuple(each.public.line for each in keys), serial=3, key_serial=serial)


def ids(installed):
    return [each.name for each in trusted(installed)]


def signed(folder, key, by, serial, *, comment=None) -> tuple[Path, Signature]:
    """Write a key's public file; return it and its signature."""
    path = folder / f"{key.public.name}.pub"
    path.write_text(key.public.text)
    return path, by.sign(path, comment or comment_of_key(key.public.name, serial))


def test_a_key_file_of_a_trusted_key_leaves_its_signer_and_the_new_one(tmp_path):
    one = accepted(*signed(tmp_path, SECOND, FIRST, 4), trusting(FIRST, serial=3))
    assert one == trusting(FIRST, SECOND, serial=4)
    two = accepted(*signed(tmp_path, THIRD, SECOND, 5), one)
    assert two == trusting(SECOND, THIRD, serial=5)


def test_an_old_key_file_brings_no_key_back(tmp_path):
    now = trusting(SECOND, THIRD, serial=5)
    for serial in (4, 5):
        with pytest.raises(SignatureError, match=f"serial {serial} is not higher than 5"):
            accepted(*signed(tmp_path, FIRST, SECOND, serial), now)
    with pytest.raises(SignatureError, match="not trusted here"):
        accepted(*signed(tmp_path, SECOND, FIRST, 9), trusting(THIRD, serial=5))
    assert accepted(*signed(tmp_path, THIRD, SECOND, 1), now) == now  # it is trusted already, however old the file


def test_a_key_that_a_person_removed_does_not_come_back_from_the_same_stick(tmp_path):
    path, signature = signed(tmp_path, SECOND, FIRST, 8)
    path.with_name(f"{path.name}.minisig").write_text(signature.text)
    unsigned = tmp_path / "unsigned.pub"
    unsigned.write_text(SECOND.public.text)
    by_hand = trust(path, trusting(FIRST, serial=5))
    seen_on_the_stick = accepted(path, signature, trust(unsigned, trusting(FIRST, serial=5)))
    for held in (by_hand, seen_on_the_stick):
        assert held == trusting(FIRST, SECOND, serial=8)
        with pytest.raises(SignatureError, match="serial 8 is not higher than 8"):
            accepted(path, signature, distrust(SECOND.public.name, held))


def test_a_new_model_goes_with_its_key(tmp_path):
    by_first, by_second = (
        Entry(digit * 64, digit, key=key.public.name) for digit, key in (("1", FIRST), ("2", SECOND))
    )
    held = replace(trusting(FIRST, SECOND), current=by_second, waiting=by_first)
    kept = distrust(SECOND.public.name, held)
    assert kept.waiting == by_first
    (words,) = lost(held, kept)
    assert words.startswith("the model in use, 2, stays, though its key is trusted no longer")
    rotated = accepted(*signed(tmp_path, THIRD, SECOND, 4), held)
    for after in (rotated, distrust(FIRST.public.name, held)):
        assert after.waiting is None
        assert lost(held, after) == ["the new model 1 is removed, for its key is trusted no longer"]


def test_a_serial_far_higher_than_all_before_is_a_typing_error(tmp_path):
    used_up = trusting(FIRST, serial=10**15 - 1)
    path, signature = signed(tmp_path, SECOND, FIRST, 6)
    path.with_name(f"{path.name}.minisig").write_text(signature.text)
    assert trust(path, used_up) == trusting(FIRST, SECOND, serial=6)
    for held in (trusting(FIRST, serial=7), replace(trusting(FIRST), serial=7)):
        check_jump(7 + MAX_JUMP, held, "it")
        with pytest.raises(SignatureError, match="serial 1008 is more than 1000 higher than 7"):
            check_jump(8 + MAX_JUMP, held, "it")
    check_jump(10**6, Installed(), "it")  # the first one ever


def test_nobody_but_a_trusted_key_names_the_next_one(tmp_path):
    with pytest.raises(SignatureError, match=f"signed by key {STRANGER.public.name}, which is not trusted here"):
        accepted(*signed(tmp_path, STRANGER, STRANGER, 9), trusting(FIRST))
    with pytest.raises(SignatureError, match="no key is trusted on this device yet"):
        accepted(*signed(tmp_path, FIRST, FIRST, 9), trusting())
    pretender = SecretKey(PublicKey(FIRST.public.id, STRANGER.public.key), STRANGER.seed)
    with pytest.raises(SignatureError, match="was changed"):
        accepted(*signed(tmp_path, STRANGER, pretender, 9), trusting(FIRST))


def test_a_signature_is_of_one_key_alone(tmp_path):
    for comment in (comment_of_key(THIRD.public.name, 9), comment_of_model("bear@0123", 9, CARD)):
        with pytest.raises(SignatureError, match=f"does not name key {SECOND.public.name}"):
            accepted(*signed(tmp_path, SECOND, FIRST, 9, comment=comment), trusting(FIRST))
    path, signature = signed(tmp_path, SECOND, FIRST, 9)
    path.write_text(THIRD.public.text)
    with pytest.raises(SignatureError, match="truncated or was changed"):
        accepted(path, signature, trusting(FIRST))
    twin = SecretKey(PublicKey(FIRST.public.id, THIRD.public.key), THIRD.seed)
    with pytest.raises(SignatureError, match="another key with the id"):
        accepted(*signed(tmp_path, twin, FIRST, 9), trusting(FIRST))


def test_a_comment_is_believed_only_from_a_trusted_key(tmp_path):
    model = tmp_path / "bear.onnx"
    model.write_bytes(b"a model")
    signature = FIRST.sign(model, comment_of_model("bear@0123", 9, CARD))
    model.unlink()  # the comment is judged before a big file is fetched
    assert believed(signature, trusting(SECOND, FIRST), "it") == {"model": "bear@0123", "serial": "9", "card": CARD}
    assert signer_of(signature, trusting(SECOND, FIRST), "it") == FIRST.public
    other = replace(signature, comment=signature.comment.replace("serial:9", "serial:99"))
    with pytest.raises(SignatureError, match="comment was changed"):
        believed(other, trusting(FIRST), "it")


def test_a_person_trusts_a_key_and_the_newest_two_stay(tmp_path):
    held = trusting(serial=3)
    for key in (FIRST, SECOND, SECOND, THIRD):
        path, _ = signed(tmp_path, key, key, 1)
        held = trust(path, held)
    assert held == trusting(SECOND, THIRD, serial=3)


def test_a_signature_beside_a_key_file_has_to_fit_also_for_a_person(tmp_path):
    path, good = signed(tmp_path, SECOND, FIRST, 1)
    beside = path.with_name(f"{path.name}.minisig")
    beside.write_text(good.text)
    assert trust(path, trusting(FIRST, serial=3)) == trusting(
        FIRST, SECOND, serial=3
    )  # a lower serial: a person's word
    assert trust(path, trusting()) == trusting(SECOND)  # nobody is trusted yet who could sign
    for bad in (good.text[:-20], FIRST.sign(beside, good.comment).text, replace(good, comment="key:1").text):
        beside.write_text(bad)
        with pytest.raises(SignatureError):
            trust(path, trusting(FIRST))


def test_a_person_trusts_a_key_that_a_stranger_signed_and_hears_of_it(tmp_path, caplog):
    path, signature = signed(tmp_path, SECOND, STRANGER, 9)
    path.with_name(f"{path.name}.minisig").write_text(signature.text)
    assert trust(path, trusting(FIRST, serial=3)) == trusting(FIRST, SECOND, serial=3)
    (said,) = caplog.messages
    assert f"ignored; it is by key {STRANGER.public.name}, which is not trusted here" in said


def test_a_key_is_trusted_no_longer():
    name = FIRST.public.name
    assert ids(distrust(name.lower(), trusting(FIRST, SECOND))) == [SECOND.public.name]
    assert distrust(name, trusting(FIRST)).keys == ()
    with pytest.raises(OptionError, match=f"no trusted key has this id; trusted: {SECOND.public.name}"):
        distrust(name, trusting(SECOND))


@pytest.mark.parametrize(
    ("comment", "words"),
    [
        ("", "names no model or key alone"),
        ("timestamp:1700000000\tfile:bear.onnx\thashed", "names no model or key alone"),
        ("model:a\tserial:1", "names no model or key alone"),
        ("key:A\tkey:B\tserial:1", "names no model or key alone"),
        ("key:A\tmodel:a\tserial:1\tcard:b", "names no model or key alone"),
        ("key:A\tserial:0", "serial '0' is no whole number from 1"),
        ("key:A\tserial:-3", "serial '-3'"),
        ("key:A\tserial:٣", "serial '٣'"),
        ("key:A\tserial:1e3", "serial '1e3'"),
        ("key:A\tserial:9999999999999999", "serial '9999999999999999'"),
    ],
)
def test_a_comment_that_says_nothing_clear_is_refused(comment, words):
    with pytest.raises(SignatureError, match=words):
        parse_comment(comment, "it")


def test_a_comment_is_read_as_it_was_written(tmp_path):
    assert parse_comment(comment_of_key("ABC", 3)) == {"key": "ABC", "serial": "3"}
    assert parse_comment(comment_of_model("a:b@1", 3, "ff")) == {"model": "a:b@1", "serial": "3", "card": "ff"}
    path, signature = signed(tmp_path, FIRST, FIRST, 7)
    assert parse_comment(Signature.of(signature.text, path).comment)["serial"] == "7"
    with pytest.raises(SignatureError, match="cannot be signed"):
        comment_of_model("bear\tserial:9", 1, "ff")
