"""``bear-alarm model update``: what a ranger with a stick types, and what the alarm's own child process prints."""

from __future__ import annotations

import json

import pytest

from tests.helpers.command import bear_alarm, in_a_process
from tests.helpers.signed_models import SERIAL, HttpsFiles, SignedModels


@pytest.fixture
def device(tmp_path):
    return SignedModels(tmp_path)


def update(device, *words, **more):
    return bear_alarm("model", "update", *words, "--state", device.state, **more)


def test_a_stick_is_taken_by_one_sentence(device):
    device.model()
    ran = update(device, device.stick)
    assert ran.returncode == 0
    assert ran.stdout.startswith("The model tiny@")
    assert ran.stdout.endswith(f"the running alarm or from its next start on.\nModels in {device.store.folder}\n")
    again = update(device, device.beside(device.stick / "bear.onnx"))  # the signature's name means the model too
    assert "is tried beside the model in use already.\n" in again.stdout
    assert "is the model in use from now on.\n" in update(device, device.stick, "--now").stdout
    assert device.store.read().current


def test_a_refusal_is_one_sentence_and_exit_code_2(device):
    device.model(SERIAL)
    before = device.contents
    ran = update(device, device.stick)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.strip().count("\n") == 0
    assert "--older" in ran.stderr
    assert device.contents == before
    assert update(device, device.stick, "--older").returncode == 0


def test_the_alarm_reads_one_line(device):
    for serial, kind in ((SERIAL + 1, "waiting"), (SERIAL - 1, "nothing")):
        device.model(serial)
        words = ("model", "update", device.stick, "--state", device.state, "--unattended", "--json")
        (line,) = in_a_process(*words).stdout.splitlines()  # it lowers its own process
        assert json.loads(line)["kind"] == kind


def test_the_state_of_a_config_is_the_one_meant(device, tmp_path):
    device.model()
    config = tmp_path / "bear-alarm.yml"
    config.write_text(f"state: {device.state}\n")
    assert bear_alarm("model", "update", device.stick, "--config", config).returncode == 0
    assert device.store.read().waiting


def test_a_message_on_standard_input_keeps_a_password_out_of_the_list_of_processes(device, tmp_path):
    file = device.model()
    with HttpsFiles(tmp_path / "server") as server:
        server.files = {"/bear.onnx": file.read_bytes()}
        url = server.url.replace("://", "://ranger:s3cret@") + "/bear.onnx"
        text = json.dumps({"url": url, "signature": device.beside(file).read_text()})
        ran = update(device, "-", stdin=text, SSL_CERT_FILE=str(server.ca), NO_PROXY="127.0.0.1")
    assert ran.returncode == 0, ran.stderr
    assert "s3cret" not in ran.stdout


@pytest.mark.slow
def test_nothing_new_is_seen_without_a_runtime_for_models(device):
    """The daily look at an address must be cheap on a small board."""
    device.model()
    update(device, device.stick)
    words = ("model", "update", device.stick, "--state", device.state, "--json")
    ran = in_a_process(*words, PYTHONPROFILEIMPORTTIME="1")
    assert json.loads(ran.stdout)["kind"] == "nothing"
    assert "edge.update.install" in ran.stderr
    assert "onnxruntime" not in ran.stderr
