"""The keys that a device trusts: who may name the next one, and what an old file can do."""

from dataclasses import replace
from pathlib import Path

import pytest

from edge.errors import OptionError, SignatureError
from edge.minisign import PublicKey, SecretKey, Signature
from edge.model_store import Installed
from edge.update.comments import comment_of_key, comment_of_model, parse_comment
from edge.update.keys import accepted, believed, distrust, signer_of, trust, trusted

FIRST, SECOND, THIRD, STRANGER = (SecretKey.new() for _ in range(4))
CARD = "ab" * 32


def trusting(*keys, serial=0):
    return Installed(keys=tuple(each.public.line for each in keys), serial=serial)


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
    assert accepted(*signed(tmp_path, THIRD, FIRST, 1), now) is now  # it is trusted already, however old the file


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
    for bad in (good.text[:-20], SECOND.sign(path, good.comment).text, replace(good, comment="key:1").text):
        beside.write_text(bad)
        with pytest.raises(SignatureError):
            trust(path, trusting(FIRST))


def test_a_key_is_trusted_no_longer():
    name = FIRST.public.name
    assert ids(distrust(name.lower(), trusting(FIRST, SECOND))) == [SECOND.public.name]
    assert distrust(name, trusting(FIRST)).keys == ()
    with pytest.raises(OptionError, match=f"no trusted key has this id; trusted: {SECOND.public.name}"):
        distrust(name, trusting(SECOND))


@pytest.mark.parametrize(
    ("comment", "words"),
    [
        ("", "names no model or key"),
        ("timestamp:1700000000\tfile:bear.onnx\thashed", "names no model or key"),
        ("model:a\tserial:1", "names no model or key"),
        ("key:A\tkey:B\tserial:1", "names no model or key"),
        ("key:A\tmodel:a\tserial:1\tcard:b", "names a model and a key"),
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
