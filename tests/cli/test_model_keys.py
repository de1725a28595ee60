"""``model keygen``, ``sign`` and ``trust``, and the places where a private key is found or refused."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge import files
from edge.cli import model_keys
from edge.cli.doctor.command import all_checks
from edge.cli.doctor.keys import check_private_keys
from edge.errors import OptionError
from edge.minisign import PublicKey, SecretKey, Signature, text_of, verify
from edge.model_store import Entry, ModelStore
from edge.settings import Settings, UpdateSettings
from edge.update.comments import parse_comment
from edge.update.keys import accepted, trusted
from tests.helpers.command import ROOT, bear_alarm
from tests.helpers.doctor_world import device
from tests.helpers.tiny import tiny_card, write_tiny_model

POSIX = pytest.mark.skipif(os.name != "posix", reason="modes")
PASSPHRASE = "höchst geheim 7"


@pytest.fixture(autouse=True)
def _small_scrypt(monkeypatch):
    """1 MB in place of 1 GB; keys know their own limits."""
    monkeypatch.setitem(SecretKey.locked.__kwdefaults__, "operations", 1 << 15)
    monkeypatch.setitem(SecretKey.locked.__kwdefaults__, "memory", 1 << 20)


@pytest.fixture
def at(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def keygen(folder, name="one"):
    done = bear_alarm("model", "keygen", name, cwd=folder, stdin=f"{PASSPHRASE}\n")
    assert done.returncode == 0, done.stderr
    public = PublicKey.of(text_of(folder / f"{name}.pub"), name)
    assert done.stdout.endswith(f"trusted: {public.name} {public.line}\n")  # as `trust` prints it
    return folder / name


def sign(folder, file, key="one", *more, passphrase=PASSPHRASE):
    return bear_alarm("model", "sign", file, "--key", key, *more, cwd=folder, stdin=f"{passphrase}\n")


def serial_of(file):
    beside = file.with_name(f"{file.name}.minisig")
    return int(parse_comment(Signature.of(text_of(beside), beside).comment)["serial"])


@POSIX
def test_a_private_key_is_its_owners_alone_whatever_the_umask(at):
    before = os.umask(0)
    try:
        keygen(at)
    finally:
        os.umask(before)
    assert (at / "one").stat().st_mode & 0o777 == 0o600
    opened = SecretKey.of(text_of(at / "one"), PASSPHRASE, "one")
    assert opened.public == PublicKey.of(text_of(at / "one.pub"), "one.pub")
    assert sorted(each.name for each in at.iterdir()) == ["one", "one.pub"]


def test_a_key_is_never_replaced(at):
    held = keygen(at).read_bytes()
    for there, gone in (("one", "one.pub"), ("two.pub", "two")):
        (at / there).touch()
        (at / gone).unlink(missing_ok=True)
        done = bear_alarm("model", "keygen", there.removesuffix(".pub"), cwd=at, stdin="x\n")
        assert (done.returncode, done.stderr) == (
            2,
            f"bear-alarm: {there}: exists already, and a key is never replaced; name another file\n",
        )
        assert not (at / gone).exists()
    assert (at / "one").read_bytes() == held


@pytest.mark.parametrize(
    ("name", "stdin", "words"),
    [
        ("one", "", "there is no terminal to ask for the passphrase of one on; pipe it in"),
        ("one", "\n", "there is no terminal to ask for the passphrase of one on; pipe it in"),
        ("one", "x" * 1025 + "\n", "the passphrase of one is too long"),
        ("one", "ninechars\n", "a passphrase has at least 10 characters, and this has 9"),
        ("none/one", "x\n", "there is no folder none"),
    ],
)
def test_what_cannot_be_a_key_leaves_nothing(name, stdin, words, at):
    done = bear_alarm("model", "keygen", name, cwd=at, stdin=stdin)
    assert (done.returncode, words in done.stderr) == (2, True)
    assert list(at.iterdir()) == []


@pytest.mark.parametrize("name", ["one", "one.pub"])
def test_a_key_that_finds_no_room_is_made_at_the_next_try(name, at, monkeypatch):
    whole = files.replace_whole

    def full(path, data, **more):
        if path.name == name:
            raise OptionError(f"{path}: cannot be written (No space left on device)")
        whole(path, data, **more)

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace_whole", full)
        assert bear_alarm("model", "keygen", "one", cwd=at, stdin=f"{PASSPHRASE}\n").returncode == 2
    assert list(at.iterdir()) == []
    keygen(at)


def test_no_key_is_made_where_the_service_of_the_alarm_is_installed(at, monkeypatch):
    (at / "unit").touch()
    monkeypatch.setattr("edge.cli.doctor.findings.UNIT", at / "unit")
    done = bear_alarm("model", "keygen", at / "one", stdin="x\n")
    assert (done.returncode, "a private key never lies on a device" in done.stderr) == (2, True)
    assert not (at / "one").exists()


def test_serials_count_up_over_models_and_keys_of_all_who_sign(at):
    keygen(at), keygen(at, "two")
    model = write_tiny_model(at / "bear.onnx", tiny_card())
    done = sign(at, "bear.onnx", "one", "--serial", 41)
    public = PublicKey.of(text_of(at / "one.pub"), "one.pub")
    assert (done.returncode, done.stdout.split(", ")[1:]) == (0, ["serial 41", f"signed with key {public.name}\n"])
    verify(Signature.of(text_of(at / "bear.onnx.minisig"), "it"), public, model, "it")
    assert sign(at, "two.pub").returncode == 0
    assert serial_of(at / "two.pub") == 42
    assert sign(at, "bear.onnx", "two").returncode == 0
    assert serial_of(model) == 43
    assert [(at / f"{name}.serial").read_text() for name in ("one", "two")] == ["42\n", "43\n"]
    assert sign(at, "bear.onnx").returncode == 0
    assert serial_of(model) == 44

    bear_alarm("model", "trust", at / "one.pub", "--state", at / "state")
    held = ModelStore.of(at / "state").read()
    signature = Signature.of(text_of(at / "two.pub.minisig"), "it")
    after = accepted(at / "two.pub", signature, held)
    assert (len(after.keys), after.key_serial) == (2, 42)


def test_two_who_sign_at_once_give_no_serial_twice(at, monkeypatch):
    keygen(at), keygen(at, "next")
    typed = model_keys._passphrase

    def meanwhile(*given, **more):
        (at / "two.serial").write_text("7\n")
        return typed(*given, **more)

    monkeypatch.setattr(model_keys, "_passphrase", meanwhile)
    sign(at, "next.pub")
    assert serial_of(at / "next.pub") == 8


def test_a_lower_serial_is_signed_with_a_warning_and_lowers_no_count(at):
    keygen(at)
    write_tiny_model(at / "bear.onnx", tiny_card())
    sign(at, "bear.onnx", "one", "--serial", 5)
    done = sign(at, "bear.onnx", "one", "--serial", 5)
    assert (done.returncode, "Serial 5 is not higher than the last one, 5" in done.stderr) == (0, True)
    sign(at, "bear.onnx", "one", "--serial", 2)
    assert (at / "one.serial").read_text() == "5\n"


def test_a_count_that_is_not_there_is_said(at):
    keygen(at)
    write_tiny_model(at / "bear.onnx", tiny_card())
    words = "There is no one.serial, so this is serial 1; if this key has signed before, give --serial."
    assert words in sign(at, "bear.onnx").stderr
    assert sign(at, "bear.onnx").stderr == ""
    (at / "one.serial").unlink()
    assert sign(at, "bear.onnx", "one", "--serial", 1).stderr == ""
    (at / "one.serial").unlink()
    assert words in sign(at, "bear.onnx").stderr


def test_who_trusts_a_new_key_reads_its_next_serial(at):
    keygen(at)
    store = ModelStore.of(at / "state")
    store.change(lambda held: replace(held, serial=6, key_serial=2))
    done = bear_alarm("model", "trust", "one.pub", "--state", "state", cwd=at)
    assert "the next serial for this device is 7: a new key's first `model sign` needs --serial 7\n" in done.stdout


def test_a_model_is_signed_with_its_name_and_the_digest_of_its_card(at):
    from edge.detect.classifier import Classifier

    keygen(at)
    path = write_tiny_model(at / "bear.onnx", tiny_card())
    sign(at, "bear.onnx")
    model = Classifier(path)
    fields = parse_comment(Signature.of(text_of(at / "bear.onnx.minisig"), "it").comment)
    assert fields == {"model": model.name, "serial": "1", "card": model.card_digest}


def test_what_cannot_be_signed_gives_one_sentence_and_no_signature(at):
    keygen(at)
    write_tiny_model(at / "bear.onnx", tiny_card())
    (at / "text.onnx").write_text("no model")
    (at / "bad.pub").write_text("no key")
    cases = {
        ("text.onnx", "one"): "text.onnx",
        ("none.onnx", "one"): "none.onnx: no such model file; name a .onnx file",
        ("one", "one"): "one: this is a private key, which nobody signs",
        ("one.pub", "one"): "one.pub: a key does not sign itself",
        ("bad.pub", "one"): "no public key",
        ("bear.onnx", "one.pub"): "no secret key of minisign",
        ("bear.onnx", "none"): "none: cannot be read",
    }
    for (file, key), words in cases.items():
        done = sign(at, file, key)
        assert (done.returncode, words in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    done = sign(at, "bear.onnx", passphrase="another")
    assert (done.returncode, "the passphrase is wrong" in done.stderr) == (2, True)
    (at / "two.serial").write_text("many\n")
    assert "two.serial: 'many' is no serial" in sign(at, "bear.onnx").stderr
    assert not list(at.glob("*.minisig"))
    assert not (at / "one.serial").exists()


@POSIX
def test_a_key_that_others_may_read_is_used_with_a_warning(at):
    keygen(at, "next"), keygen(at).chmod(0o644)
    assert "other users may read this private key; run: chmod 600 one" in sign(at, "next.pub").stderr


@pytest.mark.needs_tool("minisign")
def test_a_stock_key_without_a_passphrase_signs_unasked(at):
    subprocess.run(["minisign", "-G", "-W", "-p", at / "s.pub", "-s", at / "s"], capture_output=True, check=True)
    keygen(at)
    done = bear_alarm("model", "sign", "one.pub", "--key", "s", cwd=at)
    assert (done.returncode, "has no passphrase" in done.stderr) == (0, True)
    subprocess.run(["minisign", "-V", "-p", at / "s.pub", "-m", at / "one.pub"], capture_output=True, check=True)


def test_a_key_is_trusted_by_its_id_and_no_longer(at):
    names, lines = [], []
    for name in ("one", "two", "three"):
        keygen(at, name)
        names.append(PublicKey.of(text_of(at / f"{name}.pub"), name).name)
        lines.append(text_of(at / f"{name}.pub").splitlines()[-1])
        done = bear_alarm("model", "trust", f"{name}.pub", "--state", "state", cwd=at)
        assert (done.returncode, done.stderr) == (0, "")
    shown = [f"trusted: {name} {line}\n" for name, line in zip(names, lines, strict=True)]
    place = f"Models in {at / 'state/models'}\n"
    assert done.stdout == f"{place}no longer trusted: {names[0]}\n{shown[1]}{shown[2]}"
    assert [each.name for each in trusted(ModelStore.of(at / "state").read())] == names[1:]
    done = bear_alarm("model", "trust", "--remove", names[1].lower(), "--state", "state", cwd=at)
    assert done.stdout == f"{place}no longer trusted: {names[1]}\n{shown[2]}"
    done = bear_alarm("model", "trust", "--remove", names[2], "--state", "state", cwd=at)
    assert done.stdout.endswith("trusted: no key; only a person can give this device a model\n")


def test_a_person_who_trusts_a_key_no_longer_hears_what_it_signed(at):
    store = ModelStore.of(at / "state")
    keygen(at)
    name = PublicKey.of(text_of(at / "one.pub"), "one").name
    bear_alarm("model", "trust", "one.pub", "--state", "state", cwd=at)
    entry = Entry("a" * 64, "bear@a", key=name)
    store.change(lambda held: replace(held, current=entry, waiting=replace(entry, sha256="b" * 64, name="bear@b")))
    done = bear_alarm("model", "trust", "--remove", name, "--state", "state", cwd=at)
    assert "the new model bear@b is removed" in done.stderr
    assert "the model in use, bear@a, stays" in done.stderr
    assert store.read().waiting is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "name one public key file, or --remove ID"),
        (("one.pub", "--remove", "AB"), "name one public key file, or --remove ID"),
        (("one",), "this is a SECRET key"),
        (("none.pub",), "cannot be read"),
        (("--remove", "AB"), "AB: no trusted key has this id; trusted: none"),
    ],
)
def test_what_is_no_key_is_not_trusted(words, sentence, at):
    keygen(at)
    done = bear_alarm("model", "trust", *words, "--state", "state", cwd=at)
    assert (done.returncode, sentence in done.stderr) == (2, True)
    assert not (at / "state/models/installed.json").exists()


AT_A_TERMINAL = """
import sys
from edge.minisign import SecretKey
SecretKey.locked.__kwdefaults__.update(operations=1 << 15, memory=1 << 20)
from edge.cli.main import main
sys.argv = ["bear-alarm", "model", "keygen", "one"]
main()
"""


@POSIX
def test_a_passphrase_is_asked_for_twice_at_a_terminal_and_seen_nowhere(at):
    inner, outer = os.openpty()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BEAR_ALARM")}
    child = subprocess.Popen(
        [sys.executable, "-c", AT_A_TERMINAL], cwd=at, stdin=outer, stdout=outer, stderr=outer, start_new_session=True,
        env=environment | {"PYTHONPATH": str(ROOT), "BEAR_ALARM_DEBUG": "1"},
    )  # fmt: skip
    os.close(outer)
    seen, answers = b"", iter(["first", "second", PASSPHRASE, PASSPHRASE])
    try:
        while True:
            seen += os.read(inner, 1000)
            if seen.endswith(b": ") and not seen.endswith(b"Error: "):
                for path in (Path(f"/proc/{child.pid}/{name}") for name in ("cmdline", "environ")):
                    assert not path.exists() or PASSPHRASE.encode() not in path.read_bytes()
                os.write(inner, f"{next(answers)}\n".encode())
                seen += b"\n"
    except OSError:  # the end of a terminal
        pass
    finally:
        os.close(inner)
    assert child.wait() == 0, seen
    assert b"do not match" in seen
    assert not [each for each in (b"first", b"second", PASSPHRASE.encode()) if each in seen]
    assert SecretKey.of(text_of(at / "one"), PASSPHRASE, "one")


def test_the_doctor_finds_a_private_key_that_lies_on_a_device(at):
    home, state, stick = at / "home", at / "state", at / "stick"
    for folder in (home / ".minisign", at / "home/pi", state / "models", stick, at / "etc"):
        folder.mkdir(parents=True)
    line = SecretKey.new().locked("x")
    private = [
        home / "my.key",
        home / ".minisign/minisign.key",
        home / "pi/b",
        state / "models/c",
        at / "etc/secrets.yml",
        stick / "d",
    ]
    for path in private:
        path.write_text(line)
    (home / "my.key.pub").write_text(SecretKey.new().public.text)
    sources = UpdateSettings(sources=(str(stick), "https://example.org/bear.onnx", "mqtt"))
    target = device(at, config=at / "etc/config.yml", settings=Settings(updates=sources))
    found = list(check_private_keys(target))
    assert sorted(each.words.split(" holds ")[0] for each in found) == sorted(map(str, private))
    assert {each.state for each in found} == {"doubt"}
    assert list(check_private_keys(device(at))) == []  # the computer of who makes models
    assert check_private_keys in [each.look for each in all_checks()]
