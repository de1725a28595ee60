"""Messages for people in words, through the real Apprise and a real socket."""

import json
import logging
import socket
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from io import StringIO

import pytest

from edge.alert import notify as module
from edge.alert.delivery import Deliverer
from edge.alert.notify import Notify, title_and_body
from edge.errors import OptionError
from edge.record.outbox import Message
from tests.helpers.outbox_world import MemoryQueue, event, wait_for
from tests.helpers.webhook_server import PostBox

NOW = datetime(2026, 1, 1, 14, 5, 0, tzinfo=timezone(timedelta(hours=2), "EET"))
BEAR = event(7, label="brown_bear", score=0.976, zones=("hives",))


def notify(box, rest="/tokentoken"):
    return Notify(f"json://bob:hunter22@127.0.0.1:{box.port}{rest}")


def messages(box):
    return [(found["title"], found["message"]) for found in (json.loads(each.body) for each in box.posted)]


def test_the_word_and_then_the_picture_arrive_through_apprise(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "title_and_body", lambda message, now: title_and_body(message, NOW, NOW.tzinfo))
    picture = tmp_path / "seen it.jpg"
    picture.write_bytes(b"\xff\xd8 a picture")
    queue = MemoryQueue()
    with PostBox() as box:
        deliverer = Deliverer(notify(box), queue)
        queue.put(BEAR)
        queue.put(BEAR, "picture", picture)
        wait_for(lambda: not queue.of("waiting"))
        assert deliverer.close(5.0)
    word, shown = (json.loads(each.body) for each in box.posted)
    assert (word["title"], word["message"]) == (
        "BEAR at yard",
        "Brown bear, 98% sure, at yard, in hives, 14:00:00.",
    )
    assert (word["type"], word["attachments"]) == ("warning", [])
    assert shown["title"] == "Picture: BEAR at yard"
    assert [each["filename"] for each in shown["attachments"]] == ["seen it.jpg"]


@pytest.fixture
def debugging():
    """All that is logged at the root, in debugging mode."""
    root, logged = logging.getLogger(), StringIO()
    handler, level = logging.StreamHandler(logged), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield logged
    root.removeHandler(handler)
    root.setLevel(level)


def test_what_apprise_logs_of_a_failure_is_the_error_without_secrets(debugging):
    with PostBox(500) as box, pytest.raises(RuntimeError, match="error=500") as refused:
        notify(box).send(Message((BEAR,), "word"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RuntimeError, match="Connection error") as unreached:
        Notify(f"json://bob:hunter22@127.0.0.1:{port}/tokentoken").send(Message((BEAR,), "word"))
    for words in (str(refused.value), str(unreached.value), debugging.getvalue()):
        assert "hunter22" not in words
        assert "tokentoken" not in words
    assert "apprise" not in debugging.getvalue()


def test_apprise_tries_once_and_leaves_the_rest_to_the_deliverer():
    with PostBox(500, 500, 500) as box, pytest.raises(RuntimeError):
        notify(box).send(Message((BEAR,), "word"))
    assert len(box.posted) == 1


def test_apprise_sends_in_the_thread_that_asks_it():
    before = set(threading.enumerate())
    with PostBox() as box:
        during = {each for each in threading.enumerate() if each not in before}
        notify(box).send(Message((BEAR,), "word"))
        left = {each for each in threading.enumerate() if each not in before | during}
        assert not any("ThreadPool" in each.name for each in left)


def test_what_other_threads_log_is_not_taken_for_this_error():
    stop = threading.Event()

    def shout():
        while not stop.wait(0.001):
            logging.getLogger("apprise").error("another's trouble")

    thread = threading.Thread(target=shout)
    thread.start()
    try:
        with PostBox(500) as box, pytest.raises(RuntimeError) as caught:
            notify(box).send(Message((BEAR,), "word"))
    finally:
        stop.set()
        thread.join()
    assert "another" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("nosuch://hunter22/tokentoken", "it knows no such service"),
        ("hunter22/tokentoken", "it knows no such service"),
        ("", "it knows no such service"),
        ("tgram://hunter22/", "something in it is missing"),
        ("json://bob:hunter22@:70000/tokentoken", "something in it is missing"),
    ],
)
def test_a_url_apprise_cannot_use_is_one_sentence_without_secrets(url, cause):
    with pytest.raises(OptionError, match=cause) as caught:
        Notify(url)
    assert "hunter22" not in str(caught.value)
    assert "token" not in str(caught.value)


def test_nothing_is_shown_of_a_good_url_and_two_have_two_keys():
    one, two = Notify("json://bob:hunter22@host/a"), Notify("json://bob:hunter23@host/a")
    assert one.key.startswith("notify json ")
    assert not any(secret in f"{one!r} {one.key}" for secret in ("bob", "hunter22", "host"))
    assert one.key != two.key
    assert one.key == Notify("json://bob:hunter22@host/a").key
    assert one.pictures
    assert not Notify("syslog://").pictures


def test_people_want_alarms_and_troubles_and_no_updates():
    channel = Notify("json://host/")
    wanted = [
        event(1),
        event(2, "update", escalated="zone hives"),
        event(3, kind="test"),
        event(4, "new", "camera"),
        event(5, "end", "camera"),
        event(6, "new", "health"),
        event(7, "end", "health"),
        event(8, "new", "notice"),
    ]
    unwanted = [
        event(1, "update"),
        event(2, "end"),
        event(3, quiet="outside the schedule"),
        event(4, "update", "health"),
    ]
    assert [each.seq for each in wanted if channel.wants(each)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert not any(channel.wants(each) for each in unwanted)


def words(*events, part="word", late_s=0.0, now=NOW):
    return title_and_body(Message(events, part, None, late_s), now, now.tzinfo)


def test_words_for_each_kind_of_event():
    assert words(event(1, "update", label="black_bear", score=0.9, escalated="rising score")) == (
        "BEAR at yard again",
        "Black bear, 90% sure, at yard, rising score, 14:00:00.",
    )
    assert words(event(1, "new", "camera", label="covered", detail="Something hangs before the lens.")) == (
        "Camera yard has a problem",
        "Camera yard has a problem, 14:00:00 (covered).\nSomething hangs before the lens.",
    )
    assert words(event(1, "end", "camera"))[0] == "Camera yard is well again"
    assert words(event(1, "new", "health", label="disk"))[0] == "The bear alarm has a problem"
    moved = "camera yard is supervised now, because the camera was moved"
    assert words(event(1, "new", "notice", detail=f"{moved}.")) == (
        "Bear alarm: camera yard",
        f"{moved.capitalize()} (14:00:00).",
    )
    title, body = words(event(1, kind="test", detail="Asked for at the keyboard."))
    assert title == "Test of the bear alarm"
    assert body == "This is only a test, 14:00:00.\nAsked for at the keyboard."


def test_times_are_in_the_zone_of_now_with_their_day_and_their_doubts():
    assert ", yesterday 14:00:00." in words(BEAR, now=NOW + timedelta(days=1))[1]
    assert ", 2026-01-01 14:00:00." in words(BEAR, now=NOW + timedelta(days=2))[1]
    assert ", 12:00:00." in words(BEAR, now=NOW.astimezone(UTC))[1]
    assert "clock was not set" in words(event(1, clock_synced=False))[1]
    assert words(BEAR, late_s=7300.0)[1].endswith("\nSent 2 hours late: it could not be sent before.")
    assert words(event(1, kind="bear"), now=NOW)[1] == "Bear, at yard, 14:00:00."


def test_a_digest_counts_and_names_the_alarms_first_the_newest_on_top():
    alarms = [event(seq, label="brown_bear", score=seq / 100) for seq in range(1, 13)]
    troubles = [event(90, "new", "camera"), event(91, "end", "camera"), event(92, "new", "health")]
    troubles += [event(93, "new", "notice", detail="moved")]
    title, body = words(*alarms, *troubles, late_s=9000.0)
    assert title == "BEAR at yard, and 15 more"
    first, *lines, last = body.splitlines()
    counts = "12 alarms, 2 messages about a camera, 1 message about the alarm itself, 1 notice"
    assert first == f"16 events that could not be sent at once: {counts}."
    assert lines[0] == "Brown bear, 12% sure, at yard, 14:00:00."
    assert (len(lines), last) == (8, "and 8 more, since 14:00:00.")
    title, body = words(*troubles)
    assert title == "4 messages"
    counts = "no alarms, 2 messages about a camera, 1 message about the alarm itself, 1 notice"
    first, moved, *_ = body.splitlines()
    assert moved == "Moved (14:00:00)."
    assert first == f"4 events that could not be sent at once: {counts}."


def test_a_digest_of_500_is_one_message_through_apprise():
    with PostBox() as box:
        notify(box).send(Message(tuple(event(seq) for seq in range(500)), "word", None, 80000.0))
    ((title, body),) = messages(box)
    assert title == "BEAR at yard, and 499 more"
    assert len(body) < 1000


def test_a_send_to_a_server_that_is_silent_ends_by_itself():
    started = time.monotonic()
    with PostBox("silence") as box, pytest.raises(RuntimeError):
        notify(box, "/tokentoken?rto=0.3").send(Message((BEAR,), "word"))
    assert time.monotonic() - started < 10.0


def test_times_before_summer_time_ended_are_as_the_clock_showed_them(time_zone):
    time_zone("Europe/Ljubljana")
    now = datetime(2026, 10, 25, 2, 0, tzinfo=UTC).astimezone()  # 03:00, winter time
    alarm = replace(event(1), captured_at="2026-10-24T22:30:00.000Z")  # 00:30, summer time
    _, body = title_and_body(Message((alarm,), "word", None), now)
    assert ", 00:30:00." in body
