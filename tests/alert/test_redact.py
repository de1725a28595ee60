"""No secret is left in the words about an error, however a library spelled it."""

from urllib.parse import quote, quote_plus

import pytest

from edge.alert.redact import MAX_SENTENCE, address_of, scrub, secrets_of

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("words", "clean"),
    [
        ("Connection refused", "Connection refused"),
        (
            "cannot reach https://hooks.example.org:8443/a/b?c=d (timed out)",
            "https://hooks.example.org:8443/*** (timed",
        ),
        ("mqtt://bob:pw@10.0.0.7:1883: not authorised", "mqtt://***@10.0.0.7:1883: not authorised"),
        ("http://[fe80::1]:80/x.", "http://[fe80::1]:80/***."),
        ("no route to http://10.0.0.7", "no route to http://10.0.0.7"),
        ("does it speak TLS (mqtts://)?", "does it speak TLS (mqtts://)?"),
        ("is it https://h.example/abc?!", "is it https://h.example/***?!"),
        ("begin with a name, as in ntfy://; see the list", "begin with a name, as in ntfy://; see the list"),
        ("tgram://123456:ABCdef/42 failed", "tgram://*** failed"),
        (
            "HTTPSConnectionPool(host='t.example', port=443): Max retries exceeded with url: /bot12:Ab/send",
            "HTTPSConnectionPool(host='t.example', port=443): Max retries exceeded with url: ***",
        ),
        ("password='two words', user=bob", "password=***, user=bob"),
        ("Authorization: Bearer abc.def-123", "Authorization: ***"),
        ('{"access_token": "abc"}', '{"access_token": ***}'),
        ("one\ntwo\x1b[31m\x00three", "one two [31m three"),
        ("x" * 1000, "x" * (MAX_SENTENCE - 2) + " …"),
    ],
)
def test_what_is_left(words, clean):
    assert clean in scrub(words)
    assert len(scrub(words)) <= MAX_SENTENCE


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://bob:pw@hooks.example.org:8443/secret?token=x", "https://hooks.example.org:8443"),
        ("https://bob:p/w@hooks.example.org/secret", "https://…"),
        ("tgram://123456:ABC/1", "tgram://…"),
        ("mqtt://10.0.0.7", "mqtt://10.0.0.7"),
        ("hooks.example.org/secret", "…"),
        ("a/secret://b", "…"),
    ],
)
def test_an_address_as_it_may_be_shown(url, shown):
    assert address_of(url) == shown


SIGNS = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"))
SECRET = st.text(SIGNS, min_size=8, max_size=24).filter(lambda text: text == text.strip())
# Unescaped, these end what they stand in; a password is found even so.
PIECE = SECRET.map(lambda text: "".join("-" if sign in ":/?#&=@;" else sign for sign in text))
SPELLED = st.sampled_from([str, quote, lambda text: quote(text, safe=""), quote_plus])
SENTENCES = st.sampled_from(
    [
        "{}",
        "cannot reach {}",
        "Max retries exceeded with url: {} (Caused by x)",
        "<{}>",
        "'{}': refused",
        "{}, again",
        "a {} b",
    ]
)


@given(PIECE, SECRET, PIECE, PIECE, SPELLED, SPELLED, SENTENCES, st.sampled_from(["https", "mqtt", "tgram"]))
def test_no_secret_of_a_known_url_is_left(user, password, path, value, spell, shown, sentence, scheme):
    url = f"{scheme}://{spell(user)}:{spell(password)}@h.example:1/{spell(path)}?key={spell(value)}"
    secrets = secrets_of(url)
    pieces = [spell(user), spell(password), spell(path), spell(value)]
    for piece in [url, f"/{spell(path)}?key={spell(value)}", *pieces, *(shown(each) for each in pieces)]:
        left = scrub(sentence.format(piece), secrets)
        for secret in (user, password, path, value, *pieces):
            assert secret not in left or secret in sentence, (left, secret)


@given(SECRET, SECRET, SECRET, SECRET, SENTENCES)
def test_no_secret_is_left_of_a_url_nobody_has_named(user, password, path, value, sentence):
    url = f"https://{quote(user, safe='')}:{quote(password, safe='')}@h.example/{quote(path)}?key={quote_plus(value)}"
    left = scrub(sentence.format(url))
    for secret in (user, password, path, value):
        for spelled in (secret, quote(secret), quote(secret, safe=""), quote_plus(secret)):
            assert spelled not in left
    assert "h.example" in left


@given(st.text(max_size=400))
def test_any_words_are_one_short_printable_line(words):
    left = scrub(words)
    assert len(left) <= MAX_SENTENCE
    assert left.isprintable()
