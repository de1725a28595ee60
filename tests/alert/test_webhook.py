"""Events posted to a web address: signed, in order, refused or tried again; against a real server."""

import hashlib
import hmac
import json
import socket
import subprocess
import sys

import pytest

from edge.alert import webhook
from edge.alert.delivery import Deliverer
from edge.alert.webhook import Webhook
from edge.errors import OptionError
from edge.record.outbox import Message, NotYetError, RefusedError
from edge.schema import Event
from tests.helpers.outbox_world import MemoryQueue, event, wait_for
from tests.helpers.webhook_server import PostBox

WORD = Message((event(7, score=0.98),), "word")


def hook(box, path="/bear", **more):
    return Webhook(f"http://127.0.0.1:{box.port}{path}", **more)


def is_right(posted, secret):
    """Return what the receiver does, as the module's docstring has it."""
    headers, body = posted.headers, posted.body
    key, moment = headers["Idempotency-Key"], headers["X-Bear-Alarm-Timestamp"]
    signed = f"{key}.{moment}.".encode() + body
    right = "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(right, headers["X-Bear-Alarm-Signature"])


def test_an_event_is_posted_as_json_with_a_signature_that_can_be_checked(monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1700000000.5)
    with PostBox() as box:
        hook(box, secret="hush").send(WORD)
    (posted,) = box.posted
    assert Event.from_json(posted.body.decode()) == WORD.events[0]
    assert posted.headers["Content-Type"] == "application/json"
    assert posted.headers["Idempotency-Key"] == "run-7-word"
    assert (posted.headers["X-Bear-Alarm-Event"], posted.headers["X-Bear-Alarm-Part"]) == ("id7", "word")
    assert posted.headers["X-Bear-Alarm-Timestamp"] == "1700000000"
    assert is_right(posted, "hush")
    assert not is_right(posted, "other")


def test_the_picture_is_a_post_of_its_own_that_names_its_event(tmp_path):
    picture = tmp_path / "seen.jpg"
    picture.write_bytes(b"\xff\xd8 a picture")
    with PostBox() as box:
        hook(box, secret="hush").send(Message(WORD.events, "picture", picture))
    (posted,) = box.posted
    assert (posted.body, posted.headers["Content-Type"]) == (picture.read_bytes(), "image/jpeg")
    assert (posted.headers["X-Bear-Alarm-Event"], posted.headers["Idempotency-Key"]) == ("id7", "run-7-picture")
    assert is_right(posted, "hush")
    posted.headers["Idempotency-Key"] = "run-8-picture"
    assert not is_right(posted, "hush")  # nobody can give it to another event


def test_path_query_and_login_are_used_as_they_are_meant():
    with PostBox() as box:
        Webhook(f"http://bob:p%40ss@127.0.0.1:{box.port}/a b/ü%20?key=ö&x=1".replace(" ", "%20")).send(WORD)
    (posted,) = box.posted
    assert posted.path == "/a%20b/%C3%BC%20?key=%C3%B6&x=1"
    assert posted.headers["Authorization"] == "Basic Ym9iOnBAc3M="
    assert "X-Bear-Alarm-Signature" not in posted.headers


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (204, None, ""),
        (400, RefusedError, "127.0.0.1 answered HTTP 400 Bad Request"),
        (404, RefusedError, "HTTP 404"),
        (401, RuntimeError, "HTTP 401"),
        (403, RuntimeError, "HTTP 403"),
        (408, RuntimeError, "HTTP 408"),
        (429, RuntimeError, "HTTP 429"),
        ((429, {"Retry-After": "20"}), NotYetError, "HTTP 429"),
        ((503, {"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}), RuntimeError, "HTTP 503"),
        (500, RuntimeError, "HTTP 500"),
        ((307, {"Location": "http://elsewhere.invalid/"}), RuntimeError, "it has moved"),
    ],
)
def test_what_an_answer_means(answer, error, words):
    with PostBox(answer) as box:
        if error is None:
            hook(box).send(WORD)
            return
        with pytest.raises(error, match=words) as caught:
            hook(box).send(WORD)
    assert type(caught.value) is error
    assert len(box.posted) == 1
    if isinstance(caught.value, NotYetError):
        assert caught.value.after_s == 20.0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the answer may be lost with the connection")
def test_a_picture_that_is_too_big_is_refused_though_the_server_hangs_up(tmp_path):
    picture = tmp_path / "big.jpg"
    picture.write_bytes(bytes(8_000_000))
    with PostBox(413) as box, pytest.raises(RefusedError, match="HTTP 413"):
        hook(box).send(Message(WORD.events, "picture", picture))


def test_errors_of_the_network_name_the_host_and_no_secret(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectionError, match=r"127\.0\.0\.1: Connection refused") as caught:
        Webhook(f"http://bob:hunter22@127.0.0.1:{port}/tokentoken?key=keykeykey").send(WORD)
    monkeypatch.setattr(webhook, "TIMEOUT_S", 0.2)
    with PostBox("silence") as box, pytest.raises(ConnectionError, match="no answer in time"):
        hook(box).send(WORD)
    for secret in ("hunter22", "tokentoken", "keykeykey"):
        assert secret not in str(caught.value)


@pytest.mark.needs_tool("openssl")
def test_a_certificate_nobody_vouches_for_is_not_trusted(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    words = f"openssl req -x509 -newkey rsa:2048 -nodes -keyout {key} -out {certificate} -days 2 -subj /CN=localhost"
    subprocess.run(words.split(), check=True, capture_output=True, timeout=60)
    not_trusted = pytest.raises(ConnectionError, match="its certificate is not trusted")
    with PostBox(certificate=(certificate, key)) as box, not_trusted:
        Webhook(f"https://localhost:{box.port}/").send(WORD)
    assert box.posted == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://bob:hunter22@host/tokentoken",
        "https:///tokentoken?key=hunter22",
        "hooks.example.org/tokentoken?key=hunter22",
        "https://bob:hunter22@host:99999/tokentoken",
        "https://bob:hunter22@host:port/tokentoken",
        "https://bob:hunter22/tokentoken@host/",
        "https://bob:hunter22@host/token token",
        "https://bob:hunter22@[host/tokentoken",
    ],
)
def test_an_address_that_cannot_be_is_one_sentence_without_secrets(url):
    with pytest.raises(OptionError, match="the webhook's address") as caught:
        Webhook(url)
    assert "hunter22" not in str(caught.value)
    assert "token" not in str(caught.value)


def test_an_empty_secret_is_refused_and_nothing_is_shown_of_a_good_one():
    with pytest.raises(OptionError, match="secret is empty"):
        Webhook("https://host/", secret=" ")
    good = Webhook("https://bob:hunter22@hooks.example.org/tokentoken?key=keykeykey", secret="hushhush")
    assert "hooks.example.org" in good.key
    for words in (repr(good), good.key):
        assert not any(secret in words for secret in ("hunter22", "tokentoken", "keykeykey", "hushhush"))
    again = Webhook("https://ann:other@hooks.example.org/tokentoken?key=changed")
    assert again.key == good.key  # what waits is delivered after a change of password
    assert Webhook("https://hooks.example.org/another").key != good.key


def test_through_a_deliverer_all_arrive_in_order_over_a_server_that_fails(tmp_path):
    picture = tmp_path / "seen.jpg"
    picture.write_bytes(b"jpeg")
    queue = MemoryQueue()
    with PostBox(500, 200, 400, (503, {"Retry-After": "1"})) as box:
        deliverer = Deliverer(hook(box), queue, chance=lambda: 1.0)
        for seq in range(1, 5):
            queue.put(event(seq))
        queue.put(event(1), "picture", picture)
        wait_for(lambda: not queue.of("waiting"))
        assert deliverer.close(5.0)
    assert queue.of("parked") == [2]
    kept = [json.loads(each.body)["seq"] for each in box.posted[:-1]]
    assert list(dict.fromkeys(kept)) == [1, 2, 3, 4]
    assert box.posted[-1].body == b"jpeg"
