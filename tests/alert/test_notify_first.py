"""A bear's message waits for nothing and breaks through; nobody else reads it; nothing is fetched from elsewhere."""

import pytest

from edge.alert.notify import LOUD, Notify, guessable, new_topic
from edge.errors import UnavailableError
from edge.record.outbox import Message
from tests.helpers.outbox_world import event
from tests.helpers.webhook_server import PostBox

BEAR = event(7, label="brown_bear", score=0.976)
CAMERA = event(3, "new", "camera", label="gone")
PICKY = {  # what a service wants besides its name
    "pover": f"pover://{'u' * 30}@{'a' * 30}",
    "prowl": f"prowl://{'a' * 40}",
    "join": f"join://{'a' * 32}",
    "gotify": "gotify://127.0.0.1/abcdefghij",
    "bark": "bark://127.0.0.1/abcdef",
    "mailto": "mailto://bob:pw@example.org",
}


def services(url):
    """Apprise's own objects: the one for most messages, and the one for alarms."""
    channel = Notify(url)
    return channel._apprise[0], channel._loud[0]


def test_no_message_is_held_back_for_the_one_before():
    """Apprise waits 5.5 s between two messages, unless it is configured not to."""
    for url in ("json://127.0.0.1:9/x", "ntfy://127.0.0.1:9/bees", *PICKY.values()):
        assert [service.request_rate_per_sec for service in services(url)] == [0, 0], url


def test_an_alarm_breaks_through_and_what_is_no_alarm_does_not():
    with PostBox() as box:
        channel = Notify(f"ntfy://127.0.0.1:{box.port}/bees-of-ours")
        for message in (
            Message((CAMERA,), "word"),
            Message((BEAR,), "word"),
            Message((event(9, "new", "test"),), "word"),  # a test tries what an alarm does
            Message((BEAR,), "word", None, 4000.0),  # an hour old
        ):
            channel.send(message)
        assert [each.headers.get("X-Priority") for each in box.posted] == [None, "max", "max", None]


def test_a_priority_of_the_users_own_goes_before():
    with PostBox() as box:
        channel = Notify(f"ntfy://127.0.0.1:{box.port}/bees-of-ours?priority=low")
        for one in (CAMERA, BEAR):
            channel.send(Message((one,), "word"))
        assert [each.headers.get("X-Priority") for each in box.posted] == ["low", "low"]


@pytest.mark.parametrize("scheme", sorted(PICKY))
def test_every_priority_is_one_that_apprise_takes(scheme):
    name, _ = LOUD[scheme]
    usual, loud = services(PICKY[scheme])
    assert getattr(usual, name) != getattr(loud, name)
    assert LOUD.get(f"{scheme}s", LOUD[scheme]) == LOUD[scheme]


def test_a_header_of_the_users_own_goes_before_in_mail():
    _, loud = services("mailto://bob:pw@example.org?+X-Priority=3")
    assert loud.headers == {"X-Priority": "3", "Importance": "high"}


def test_nobodys_phone_fetches_a_picture_from_elsewhere():
    with PostBox() as box:
        Notify(f"ntfy://127.0.0.1:{box.port}/bees-of-ours").send(Message((BEAR,), "word"))
        (posted,) = box.posted
    assert "http" not in str(dict(posted.headers)).replace(f"http://127.0.0.1:{box.port}", "") + posted.body.decode()


def test_a_service_without_its_library_is_no_mistake(monkeypatch):
    from apprise.plugins.custom_json import NotifyJSON

    monkeypatch.setattr(NotifyJSON, "enabled", False)
    with pytest.raises(UnavailableError, match="lacks what that service needs"):
        Notify("json://127.0.0.1:9/x")


@pytest.mark.parametrize(
    ("url", "open_to_all"),
    [
        ("ntfy://my-bees", True),
        ("ntfys://ntfy.sh/my-bees", True),
        ("ntfy://bears-28a3ed59ab06d3a0", False),
        ("ntfy://my-own-server/bees", False),
        ("ntfy://bob:pw@ntfy.sh/bees", True),
        ("ntfys://bob:pw@NTFY.sh:443/bees", True),
        ("ntfys://tk_28a3ed59ab06d3a0@ntfy.sh/bears-28a3ed59ab06d3a0", False),
        ("ntfy://bob:pw@my-own-server/bees", False),
        ("json://host/bees", False),
        ("ntfy://[", False),
    ],
)
def test_a_topic_that_others_may_guess(url, open_to_all):
    assert (guessable(url) is not None) == open_to_all


def test_a_topic_of_ours_is_a_new_one_each_time_that_nobody_guesses():
    one, other = new_topic(), new_topic()
    assert one != other
    assert guessable(f"ntfy://{one}") is None
