"""New models over HTTPS and MQTT: what comes, what breaks off, and that what is refused changes nothing."""

from __future__ import annotations

import json
import shutil

import pytest

from edge.errors import BearAlarmError, ModelError, OptionError, SignatureError, UnavailableError
from edge.minisign import SecretKey
from edge.update import fetch, install
from tests.helpers.broker import Broker, Listener
from tests.helpers.signed_models import SERIAL, HttpsFiles, SignedModels

MODEL, SIGNATURE = "/bear.onnx", "/bear.onnx.minisig"


@pytest.fixture
def device(tmp_path):
    return SignedModels(tmp_path)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server that this machine trusts, and no proxy before it."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "PAUSE_S", 0.0)
    with HttpsFiles(tmp_path / "server") as files:
        monkeypatch.setenv("SSL_CERT_FILE", str(files.ca))
        yield files


@pytest.fixture
def served(device, server):
    """Serve a good model and its signature; return the address of the model."""
    file = device.model()
    server.files = {MODEL: file.read_bytes(), SIGNATURE: device.beside(file).read_bytes()}
    return server.url + MODEL


def take(device, source, **more):
    return install.update(source, device.store, unattended=True, **more)


def refused(device, source, words, kind=UnavailableError, **more):
    """Check that an update is refused with these words in one sentence, and that the store is as before."""
    before = device.contents
    with pytest.raises(BearAlarmError, match=words) as error:
        take(device, source, **more)
    assert type(error.value) is kind
    assert "\n" not in str(error.value)
    assert device.contents == before


def test_a_model_comes_over_https(device, server, served):
    outcome = take(device, served)
    assert device.store.slot(outcome.entry).read_bytes() == server.files[MODEL]
    assert outcome.entry.source == server.url  # a path may be a secret
    assert take(device, served).kind == "nothing"
    assert [path for path, _ in server.asked] == [SIGNATURE, MODEL, SIGNATURE]  # it does not come a second time


def test_a_key_comes_over_https(device, server):
    new = SecretKey.new()
    file = device.public(new, SERIAL + 1)
    server.files = {"/k.pub": file.read_bytes(), "/k.pub.minisig": device.beside(file).read_bytes()}
    assert take(device, server.url + "/k.pub").kind == "trusted"
    assert device.store.read().keys[-1] == new.public.line


def test_a_model_that_is_refused_by_its_signature_is_never_fetched(device, server, served):
    device.model(SERIAL)
    server.files[SIGNATURE] = device.beside(device.stick / "bear.onnx").read_bytes()
    assert take(device, served).kind == "nothing"
    device.model(key=SecretKey.new())
    server.files[SIGNATURE] = device.beside(device.stick / "bear.onnx").read_bytes()
    refused(device, served, "which is not trusted here", SignatureError)
    server.files[SIGNATURE] = b"x" * 100_000
    refused(device, served, "too long for one of minisign", SignatureError)
    assert {path for path, _ in server.asked} == {SIGNATURE}


def test_login_and_query_go_to_the_server_and_into_no_words(device, server, served):
    server.files = {f"{path}?token=s3cret": data for path, data in server.files.items()}
    source = served.replace("https://", "https://ranger:passw0rd@") + "?token=s3cret"
    outcome = take(device, source)
    assert server.logins == ["Basic cmFuZ2VyOnBhc3N3MHJk"] * 2
    assert outcome.entry.source == server.url
    server.files.clear()
    refused(device, source, rf"^the signature at {server.url}: the server answers HTTP 404; check the address$")


def test_a_redirect_is_followed_to_https_alone(device, server, served):
    server.does["/latest.onnx"] = server.leads_to(MODEL)
    server.does["/latest.onnx.minisig"] = server.leads_to(server.url.replace("https", "http") + SIGNATURE)
    latest = server.url + "/latest.onnx"
    refused(device, latest, r"leads to http://127.0.0.1:\d+, and new models come over https alone", OptionError)
    server.does["/latest.onnx.minisig"] = server.leads_to(server.url + SIGNATURE)
    assert take(device, latest).kind == "waiting"


def test_a_login_is_for_its_own_server_alone(device, server, served, tmp_path):
    with HttpsFiles(tmp_path / "server") as first:  # of the same authority
        first.does = {path: first.leads_to(server.url + path) for path in (MODEL, SIGNATURE)}
        assert take(device, first.url.replace("://", "://ranger:s3cret@") + MODEL).kind == "waiting"
        assert None not in first.logins
    assert server.logins == [None, None]


def test_http_and_other_ways_are_refused(device, server):
    refused(device, "http://127.0.0.1/bear.onnx", "new models come over https alone", OptionError)
    refused(device, "htps://127.0.0.1/bear.onnx", "new models come over https alone", OptionError)
    assert server.asked == []


def test_a_server_without_the_model_or_its_signature_is_named(device, server, served):
    del server.files[MODEL]
    refused(device, served, rf"the file at {server.url}: the server answers HTTP 404")
    server._server.shutdown()
    server._server.server_close()
    refused(device, served, r"the signature at https://127.0.0.1:\d+: Connection refused")


def test_a_certificate_that_nobody_here_vouches_for_is_refused(device, server, served, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    refused(device, served, r"its certificate is not trusted .*this device's clock")
    assert server.asked == []


def test_a_server_that_stalls_is_given_up(device, server, served, monkeypatch):
    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.5)
    server.does[SIGNATURE] = lambda handler: server.ended.wait(20)
    refused(device, served, "the signature at .*: no answer in time")
    monkeypatch.setattr(fetch, "TIMEOUT_S", 30.0)

    def signature(handler):
        monkeypatch.setattr(fetch, "TIMEOUT_S", 0.5)  # of the model, which comes next
        server.send(handler, server.files[SIGNATURE])

    server.does[SIGNATURE] = signature

    def half(handler):
        server.send(handler, server.files[MODEL], stop=1000)
        server.ended.wait(20)

    server.does[MODEL] = half
    refused(device, served, "the file at .*: no answer in time")


def test_a_download_that_breaks_off_goes_on_where_it_was(device, server, served):
    data = server.files[MODEL]
    ends = iter([1000, 1500])

    def breaks_off(handler):
        start = int((handler.headers["Range"] or "bytes=0-")[6:-1])
        server.send(handler, data, start=start, stop=next(ends, None))

    server.does[MODEL] = breaks_off
    outcome = take(device, served)
    assert server.asked == [(SIGNATURE, None), (MODEL, None), (MODEL, "bytes=1000-"), (MODEL, "bytes=1500-")]
    assert device.store.slot(outcome.entry).read_bytes() == data


def test_a_server_that_cannot_go_on_begins_again(device, server, served):
    data = server.files[MODEL]
    ends = iter([1000])
    server.does[MODEL] = lambda handler: server.send(handler, data, stop=next(ends, None))
    outcome = take(device, served)
    assert device.store.slot(outcome.entry).read_bytes() == data


def test_a_server_that_always_breaks_off_is_given_up(device, server, served):
    server.does[MODEL] = lambda handler: server.send(handler, server.files[MODEL], stop=1000)
    refused(device, served, "the file at .*: the connection ended before its end; try again")
    assert server.asked == [(SIGNATURE, None), (MODEL, None), (MODEL, "bytes=1000-")]


def test_another_file_than_the_signed_one_is_refused(device, server, served):
    server.files[MODEL] = server.files[MODEL][:-1]
    refused(device, served, "the signature does not fit; the file is truncated or was changed", SignatureError)


def test_a_file_of_any_size_is_not_fetched(device, server, served):
    def huge(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(fetch.LARGEST + 1_000_000))
        handler.end_headers()

    server.does[MODEL] = huge
    refused(device, served, "more than 500,000,000 bytes are too many", ModelError)


def test_a_file_whose_size_is_not_said_ends_at_the_limit(device, server, served, monkeypatch):
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        while not server.ended.is_set():
            handler.wfile.write(bytes(fetch.PIECE))

    monkeypatch.setattr(install, "LARGEST", 1_000_000)
    server.does[MODEL] = endless
    refused(device, served, "more than 1,000,000 bytes are too many", ModelError)
    monkeypatch.setattr(install, "LARGEST", fetch.LARGEST)
    monkeypatch.setattr(fetch, "SPARE", shutil.disk_usage(device.state).free - 1_000_000)
    refused(device, served, "too little room on the disk", OptionError)  # though the disk itself has more


def test_a_server_that_drips_is_given_up(device, server, served, monkeypatch):
    def drips(handler):
        handler.send_response(200)
        handler.end_headers()
        while not server.ended.wait(0.05):
            handler.wfile.write(b"u")

    monkeypatch.setattr(fetch, "TEXT_S", 0.5)
    server.does[SIGNATURE] = drips
    refused(device, served, r"the signature at .*: not there after 0\.5 s")


# A message of MQTT.


@pytest.fixture
def broker(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "RETAINED_S", 5.0)
    (tmp_path / "broker").mkdir()
    with Broker(tmp_path / "broker", user="ranger", password="s3cret") as running:
        yield running


@pytest.mark.needs_tool("mosquitto")
def test_a_retained_message_names_the_model_and_its_signature(device, server, served, broker):
    signature = server.files.pop(SIGNATURE).decode()
    topic = f"{broker.url}/site/model"
    with Listener(broker) as listener:
        for url, text, words, kind in (
            ("http" + served[5:], signature, "new models come over https alone", OptionError),
            (served, signature[:200], "the signature at .* this is no whole signature", SignatureError),
        ):
            listener.say("site/model", json.dumps({"url": url, "signature": text}), retain=True)
            refused(device, topic, words, kind)
        listener.say("site/model", json.dumps({"url": served, "signature": signature, "note": "x" * 5000}), retain=True)
        assert take(device, topic).entry.source == server.url
    assert server.asked == [(MODEL, None)]


@pytest.mark.needs_tool("mosquitto")
def test_a_topic_without_a_message_and_a_broker_that_refuses_are_named(device, broker, caplog, monkeypatch):
    monkeypatch.setattr(fetch, "RETAINED_S", 3.0)
    refused(device, f"{broker.url}/site/model", "the topic site/model retains no message; publish one with `retain`")
    refused(device, broker.url, r"name the topic too, such as mqtt://127.0.0.1:\d+/bear-alarm/model", OptionError)
    wrong = broker.url.replace("s3cret", "wrong")
    refused(device, f"{wrong}/site/model", "the broker refuses the user or the password")
    assert "refuses" not in caplog.text  # the command says it once


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", '"https://127.0.0.1/bear.onnx"', "{}", '{"url": 7}', '{"url": "/dev/sda"}',
     '{"url": "https://127.0.0.1/b.onnx", "signature": 7}', "[" * 100_000,
     '{"uri": "https://ranger:s3cret@127.0.0.1/bear.onnx"}'],
)  # fmt: skip
def test_a_message_that_announces_no_model_is_refused(text):
    with pytest.raises(OptionError, match="is no announcement of a model; publish") as error:
        install.message(text)
    assert "s3cret" not in str(error.value)
