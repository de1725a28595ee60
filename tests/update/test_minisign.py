"""Keys and signatures in minisign's format, beside a stock minisign, and damaged in every place."""

import base64
import json
import subprocess
import sys

import pytest

from edge import minisign
from edge.errors import SignatureError
from edge.minisign import PublicKey, SecretKey, Signature, secret_parts, text_of, verify, verify_comment

SMALL = {"operations": 1 << 15, "memory": 1 << 20}  # scrypt's least: 1 MB
COMMENT = "model:bear@0123456789ab\tserial:7\tcard:00"
STOCK = pytest.mark.needs_tool("minisign")


@pytest.fixture(scope="module")
def key():
    return SecretKey.new()


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "bear.onnx"
    path.write_bytes(b"a model" * 100)
    return path


def stock(*words, passphrase=""):
    """Run a stock minisign; it reads a passphrase from its input. Returns what it printed."""
    command = ["minisign", *map(str, words)]
    return subprocess.run(command, input=passphrase, text=True, capture_output=True, check=True).stdout


@pytest.fixture
def stock_key(tmp_path):
    """The private key and the public key file of a stock minisign, without a passphrase."""
    stock("-G", "-W", "-p", tmp_path / "s.pub", "-s", tmp_path / "s.key")
    return tmp_path / "s.key", tmp_path / "s.pub"


@STOCK
def test_a_stock_minisign_verifies_a_signature_made_here(key, model, tmp_path):
    (tmp_path / "bear.onnx.minisig").write_text(key.sign(model, COMMENT).text)
    (tmp_path / "k.pub").write_text(key.public.text)
    assert COMMENT in stock("-V", "-H", "-p", tmp_path / "k.pub", "-m", model)
    assert stock("-V", "-Q", "-P", key.public.line, "-m", model).strip() == COMMENT
    model.write_bytes(b"another model")
    with pytest.raises(subprocess.CalledProcessError):
        stock("-V", "-p", tmp_path / "k.pub", "-m", model)


@STOCK
def test_a_signature_of_a_stock_minisign_is_verified_here(model, stock_key):
    private, public = stock_key
    stock("-S", "-s", private, "-t", COMMENT, "-m", model)
    signature = Signature.of(text_of(model.with_name("bear.onnx.minisig")), "it")
    assert signature.comment == COMMENT
    verify(signature, PublicKey.of(text_of(public), public), model, "it")
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(SignatureError, match="truncated or was changed: copy both files again"):
        verify(signature, PublicKey.of(text_of(public), public), model, "it")


@STOCK
def test_minisign_s_older_way_is_refused_for_it_reads_a_file_whole(model, stock_key):
    private, _ = stock_key
    stock("-S", "-l", "-s", private, "-t", COMMENT, "-m", model)
    with pytest.raises(SignatureError, match=r"minisign's older way; sign it again with minisign 0\.10 or later"):
        Signature.of(text_of(model.with_name("bear.onnx.minisig")), "it")


@STOCK
def test_a_stock_private_key_without_a_passphrase_signs_here(model, stock_key):
    private, public = stock_key
    opened = SecretKey.of(text_of(private), "", private)
    assert opened.public == PublicKey.of(text_of(public), public)
    model.with_name("bear.onnx.minisig").write_text(opened.sign(model, COMMENT).text)
    assert stock("-V", "-Q", "-p", public, "-m", model).strip() == COMMENT
    line = text_of(private).splitlines()[1]
    with pytest.raises(SignatureError, match="or the file is damaged"):
        SecretKey.of(line[:90] + ("A" if line[90] != "A" else "B") + line[91:], "", private)


@STOCK
@pytest.mark.slow
def test_a_private_key_with_a_passphrase_opens_on_both_sides(key, model, tmp_path):
    """Real limits of scrypt: 1 GB."""
    (tmp_path / "k.key").write_text(key.locked("grüezi bear"))
    stock("-S", "-s", tmp_path / "k.key", "-t", COMMENT, "-m", model, passphrase="grüezi bear\n")
    verify(Signature.of(text_of(model.with_name("bear.onnx.minisig")), "it"), key.public, model, "it")
    stock("-G", "-p", tmp_path / "s.pub", "-s", tmp_path / "s.key", passphrase="two words\ntwo words\n")
    opened = SecretKey.of(text_of(tmp_path / "s.key"), "two words", "s.key")
    assert opened.public == PublicKey.of(text_of(tmp_path / "s.pub"), "s.pub")


def changed(text):
    """Yield a text with each of its characters changed in two ways, and cut before each of them."""
    for at, letter in enumerate(text):
        for mask in (1, 6):
            yield at, text[:at] + chr(ord(letter) ^ mask) + text[at + 1 :]
        yield at, text[:at]


def test_no_character_of_a_signature_may_be_another_or_missing(key, model):
    text = key.sign(model, COMMENT).text
    free = {
        *range(len(minisign.UNTRUSTED), text.index("\n")),
        len(text) - 1,
    }  # a comment of nobody's, the last line end
    refused = []
    for at, other in changed(text):
        try:
            verify(Signature.of(other, "it"), key.public, model, "it")
        except SignatureError as error:
            refused.append(str(error))
        else:
            assert at in free
    assert all("; " in words or "signed by key" in words for words in refused)
    assert len(refused) > 700
    verify(Signature.of(text.replace("\n", "\r\n") + "\n", "it"), key.public, model, "it")


def test_a_public_key_with_another_character_verifies_nothing(key, model):
    signature = key.sign(model, COMMENT)
    for _, other in changed(key.public.line):
        with pytest.raises(SignatureError):
            verify(signature, PublicKey.of(other, "it"), model, "it")


def test_a_private_key_with_another_character_never_becomes_another_key(key, monkeypatch):
    for name, value in SMALL.items():
        monkeypatch.setattr(minisign, name.upper(), value)
    text = key.locked("bear", **SMALL)
    assert SecretKey.of(text, "bear", "it") == key
    assert minisign.SECRET_LINE.search(text)
    refused = 0
    for _, other in changed(text.splitlines()[1]):
        try:
            assert SecretKey.of(other, "bear", "it") == key  # limits with the same costs
        except SignatureError:
            refused += 1
    assert refused > 600
    with pytest.raises(SignatureError, match="the passphrase is wrong"):
        SecretKey.of(text, "bare", "it")


def test_a_damaged_private_key_asks_for_no_more_memory_than_minisign_does(key):
    parts = secret_parts(key.locked("bear", **SMALL))
    assert parts
    data = minisign.SECRET.pack(*parts[:5], 1 << 40, parts[6])
    with pytest.raises(SignatureError, match="asks for 1048576 MB"):
        SecretKey.of(base64.b64encode(data).decode(), "bear", "it")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2n9hWmVv3zRzR6p8kD3W6mS1O9m1b0qkq9bqV1zXyZ me@home",
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END",
        "untrusted comment: of another kind\n" + base64.b64encode(b"RS" + bytes(40)).decode(),
        "ünsinn\n\ud800",
    ],
)
def test_what_is_no_key_or_signature_of_minisign_is_refused(text):
    with pytest.raises(SignatureError, match="no public key of minisign"):
        PublicKey.of(text, "it")
    with pytest.raises(SignatureError, match="no whole signature of minisign"):
        Signature.of(text, "it")
    with pytest.raises(SignatureError, match="no secret key of minisign"):
        SecretKey.of(text, "", "it")


def test_a_signature_of_another_kind_is_refused(key, model):
    lines = key.sign(model, COMMENT).text.split("\n")
    data = base64.b64decode(lines[1])
    lines[1] = base64.b64encode(b"EC" + data[2:]).decode()
    with pytest.raises(SignatureError, match="another kind than Ed25519"):
        Signature.of("\n".join(lines), "it")


def test_a_private_key_in_the_place_of_a_public_one_is_named(key):
    with pytest.raises(SignatureError, match=r"SECRET key; give the public one, which ends with \.pub"):
        PublicKey.of(key.locked("bear", **SMALL), "it")


def test_another_key_with_the_same_id_verifies_nothing(key, model):
    other = SecretKey(PublicKey(key.public.id, SecretKey.new().public.key), SecretKey.new().seed)
    with pytest.raises(SignatureError, match="comment was changed"):
        verify_comment(other.sign(model, COMMENT), key.public, "it")
    with pytest.raises(SignatureError, match=f"signed by key {key.public.name}, not by"):
        verify_comment(key.sign(model, COMMENT), SecretKey.new().public, "it")


@pytest.mark.parametrize("comment", ["a\x1b[2Jb", json.loads('"\\ud800"'), "a\rb"])
def test_a_comment_that_cannot_be_shown_is_refused(comment, key, model):
    text = key.sign(model, "one").text.replace("trusted comment: one", f"trusted comment: {comment}")
    with pytest.raises(SignatureError, match="cannot be shown"):
        Signature.of(text, "it")


def test_the_file_of_a_key_or_signature_is_short_and_there(tmp_path):
    (tmp_path / "long").write_bytes(b"x" * 5000)
    (tmp_path / "latin").write_bytes(b"untrusted comment: \xe4\n")
    with pytest.raises(SignatureError, match="too long"):
        text_of(tmp_path / "long")
    with pytest.raises(SignatureError, match=r"cannot be read \(No such file"):
        text_of(tmp_path / "none")
    assert text_of(tmp_path / "latin").endswith("\ufffd\n")


def test_a_key_that_is_printed_shows_no_secret(key):
    assert repr(key.seed) not in repr(key)


def test_who_only_reads_the_list_of_models_needs_no_cryptography():
    code = "import sys, edge.model_store; print('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True).stdout == "False\n"
