"""An address of the web, ready to post to and to ask; what cannot be one has a reason, without secrets."""

from __future__ import annotations

import pytest

from edge.alert.redact import web_address
from edge.errors import OptionError


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://host.example", "https://host.example/"),
        ("HTTP://Host.Example:80/a?b=c", "http://host.example/a?b=c"),
        ("http://[::1]:8093/x", "http://[::1]:8093/x"),
        ("https://bücher.example/ä?ö=1#end", "https://xn--bcher-kva.example/%C3%A4?%C3%B6=1"),
        ("http://a_b:8080/%41", "http://a_b:8080/%41"),
    ],
)
def test_it_is_asked_for_as_it_is_escaped_and_without_its_login(url, asked):
    assert web_address(url, "the webhook").url == asked
    assert web_address(url.replace("://", "://bob:p%40ss@", 1), "the webhook").url == asked


def test_the_login_goes_into_a_header_and_nothing_of_it_is_shown():
    found = web_address("https://bob:p%40ss@host/secretpath", "the webhook")
    assert found.login == "Basic Ym9iOnBAc3M="
    assert (found.tls, found.host, found.port, found.path) == (True, "host", 443, "/secretpath")
    assert "secretpath" not in repr(found)
    assert "Basic" not in repr(found)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://host:port/x", "is no URL"),
        ("ftp://host/x", "begins with https://"),
        ("https:///x", "begins with https://"),
        ("https://host/a b", "a space or an unprintable sign"),
        (f"https://{'a' * 64}.example/x", "a host's name that cannot be"),
        ("https://host..example/x", "a host's name that cannot be"),
        (f"https://{'ü' * 64}.example/x", "a host's name that cannot be"),
    ],
)
def test_what_cannot_be_an_address_has_a_reason_and_an_owner(url, reason):
    with pytest.raises(OptionError, match=r"^the heartbeat's address \(") as caught:
        web_address(url + "/sekret", "the heartbeat")
    assert reason in str(caught.value)
    assert "sekret" not in str(caught.value)
