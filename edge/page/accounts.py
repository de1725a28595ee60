"""Who may use the page: the owner, viewers, tokens for machines, and their sessions.

All of it lies in ``page.json`` of the state folder (mode 0600), which the running page and ``bear-alarm page`` both
read and write: passphrases as salted scrypt, everything else that is secret as SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge.errors import OptionError
from edge.files import hand_over, replace_whole, try_lock

Role = Literal["owner", "viewer"]
Scope = Literal["view", "review"]

FILE = "page.json"
LOCK = "page.lock"
CLAIM_S = 600.0
SESSION_S = 30 * 86_400.0
MOST_SESSIONS = 50  # the oldest go
MIN_PASSPHRASE, MAX_PASSPHRASE = 10, 200  # characters
NAME = re.compile(r"\w[\w .-]{0,39}")
# 16 MB and some 0.1 s on a PC: a board of 512 MB must not run out of memory by a log-in (RFC 7914, OWASP 2023).
SCRYPT: dict[str, Any] = {"n": 2**14, "r": 8, "p": 5, "maxmem": 64 << 20}
USED = "this link was used, or is older than ten minutes; `bear-alarm page claim` prints another"
FREE_TRIES = 5  # wrong passphrases in a row before the next one has to wait
MAX_PAUSE_S = 300.0


@dataclass(frozen=True)
class Access:
    """What a request may do. ``csrf`` must come back with every change that a browser asks for."""

    role: Role
    name: str
    csrf: str = ""
    token: bool = False  # a machine's: no CSRF, for no browser sends it by itself
    may_review: bool = False

    @property
    def owner(self) -> bool:
        """Return True for the owner in a browser."""
        return self.role == "owner" and not self.token


class TooManyTriesError(Exception):
    """Too many wrong passphrases; ``wait_s`` until the next try."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong passphrases; try again in {wait_s:.0f} s")
        self.wait_s = wait_s


@dataclass
class _Person:
    role: Role
    salt: str
    hash: str


@dataclass
class _Session:
    role: Role
    name: str
    until: float  # time.time()


@dataclass
class _Token:
    scope: Scope
    hash: str


@dataclass
class _State:
    """What the file holds."""

    claim: str | None = None  # hash of a code that works once
    claim_until: float = 0.0
    people: dict[str, _Person] = field(default_factory=dict)
    sessions: dict[str, _Session] = field(default_factory=dict)  # by the hash of the cookie
    tokens: dict[str, _Token] = field(default_factory=dict)  # by name


class Accounts:
    """The accounts kept in the folder ``state``; for any thread and several processes.

    ``clock``: time.time(). A file that is damaged raises OptionError.
    """

    def __init__(self, state: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = state / FILE
        self._clock = clock
        self._lock = threading.RLock()
        self._kept = _State()
        self._stamp: tuple[int, int, int] | None = None  # of the file that was read
        self._tries: dict[str, int] = {}  # wrong passphrases in a row, by who asks; "" for all together
        self._next_try: dict[str, float] = {}
        self._checking = threading.Lock()  # one scrypt at a time: each takes 16 MB
        self._read()

    # The owner.

    @property
    def claimed(self) -> bool:
        """Return True once the page has an owner."""
        return "owner" in self._read().people

    def new_claim(self) -> str:
        """Return a code that makes whoever brings it the owner, once and within ten minutes.

        A new code ends the one before. Where there is an owner, the code gives the page a new owner's passphrase.
        """
        code = secrets.token_urlsafe(18)
        with self._change() as kept:
            kept.claim, kept.claim_until = _hashed(code), self._clock() + CLAIM_S
        return code

    def claim_fits(self, code: str) -> bool:
        """Return True while a code may be used."""
        kept = self._read()
        return (
            kept.claim is not None
            and 0.0 <= kept.claim_until - self._clock() <= CLAIM_S
            and hmac.compare_digest(kept.claim, _hashed(code))
        )

    def claim(self, code: str, passphrase: str) -> str:
        """Make an owner with this passphrase, log everybody out, and return the cookie of a new session.

        Raises OptionError for a code that does not fit and a passphrase that is too short.
        """
        person = _person("owner", passphrase)
        with self._change() as kept:
            if not self.claim_fits(code):
                raise OptionError(
                    "this link was used, or is older than ten minutes; `bear-alarm page claim` prints another"
                )
            kept.claim, kept.claim_until = None, 0.0
            kept.people["owner"] = person
            kept.sessions.clear()
            return self._begin(kept, "owner", "owner")

    # Viewers and tokens.

    def set_viewer(self, passphrase: str | None) -> None:
        """Let people look with a passphrase of their own; None: nobody any more. Their sessions end.

        Raises OptionError for one that is too short, or the owner's.
        """
        person = _person("viewer", passphrase) if passphrase is not None else None
        if passphrase is not None and self._fits("owner", passphrase):
            raise OptionError("viewers need another passphrase than yours; choose one")
        with self._change() as kept:
            kept.people.pop("viewer", None)
            if person:
                kept.people["viewer"] = person
            kept.sessions = {key: each for key, each in kept.sessions.items() if each.role != "viewer"}

    @property
    def has_viewer(self) -> bool:
        """Return True if people may look with a passphrase of their own."""
        return "viewer" in self._read().people

    def new_token(self, name: str, scope: Scope) -> str:
        """Return a token for a machine; it is shown once. Raises OptionError for a name that is none, or is taken."""
        if not NAME.fullmatch(name):
            raise OptionError(f"token {name!r}: give it a name of letters, digits, spaces, . - and _, at most 40")
        token = secrets.token_urlsafe(24)
        with self._change() as kept:
            if name in kept.tokens:
                raise OptionError(f"token {name!r}: there is one of this name; end it first, or choose another name")
            kept.tokens[name] = _Token(scope, _hashed(token))
        return token

    def end_token(self, name: str) -> None:
        """End a token. Raises OptionError where there is none of this name."""
        with self._change() as kept:
            if kept.tokens.pop(name, None) is None:
                raise OptionError(f"token {name!r}: there is none of this name")

    @property
    def tokens(self) -> dict[str, Scope]:
        """Return the tokens' names and scopes."""
        return {name: token.scope for name, token in self._read().tokens.items()}

    def of_token(self, token: str) -> Access | None:
        """Return what a machine with this token may do; None for one that is not known."""
        hashed = _hashed(token)
        for name, each in self._read().tokens.items():
            if hmac.compare_digest(each.hash, hashed):
                return Access("viewer", name, token=True, may_review=each.scope == "review")
        return None

    # Sessions.

    def log_in(self, passphrase: str, client: str) -> str:
        """Return the cookie of a new session for a right passphrase. ``client``: the address it comes from.

        Raises TooManyTriesError, OptionError for a wrong one.
        """
        with self._checking:
            now = self._clock()
            for who in (client, ""):
                if now < (until := self._next_try.get(who, 0.0)) and until - now <= MAX_PAUSE_S:
                    raise TooManyTriesError(until - now)
            role = next((role for role in self._read().people if self._fits(role, passphrase)), None)
            if role is None:
                self._note_wrong(client, now)
                raise OptionError("this passphrase is wrong")
            for who in (client, ""):
                self._tries.pop(who, None)
                self._next_try.pop(who, None)
        with self._change() as kept:
            return self._begin(kept, kept.people[role].role, role)

    def of_session(self, cookie: str) -> Access | None:
        """Return what the holder of a cookie may do; None for a session that is over."""
        kept = self._read()
        session = kept.sessions.get(_hashed(cookie))
        if session is None or session.name not in kept.people or not 0.0 <= session.until - self._clock() <= SESSION_S:
            return None
        csrf = hmac.new(cookie.encode(), b"csrf", hashlib.sha256).hexdigest()
        return Access(session.role, session.name, csrf, may_review=session.role == "owner")

    def log_out(self, cookie: str) -> None:
        """End one session."""
        with self._change() as kept:
            kept.sessions.pop(_hashed(cookie), None)

    def log_out_all(self) -> None:
        """End every session, on every device."""
        with self._change() as kept:
            kept.sessions.clear()

    def _begin(self, kept: _State, role: Role, name: str) -> str:
        cookie = secrets.token_urlsafe(32)
        kept.sessions[_hashed(cookie)] = _Session(role, name, self._clock() + SESSION_S)
        for old in sorted(kept.sessions, key=lambda key: kept.sessions[key].until)[:-MOST_SESSIONS]:
            del kept.sessions[old]
        return cookie

    def _fits(self, name: str, passphrase: str) -> bool:
        person = self._read().people.get(name)
        if person is None or len(passphrase) > MAX_PASSPHRASE:
            return False
        return hmac.compare_digest(person.hash, _scrypt(passphrase, bytes.fromhex(person.salt)))

    def _note_wrong(self, client: str, now: float) -> None:
        """Have the next try wait: of this client after five, of all together after five times as many."""
        for who, free in ((client, FREE_TRIES), ("", 5 * FREE_TRIES)):
            wrong = self._tries[who] = self._tries.get(who, 0) + 1
            if wrong >= free:
                self._next_try[who] = now + min(2.0 ** (wrong - free + 1), MAX_PAUSE_S)
        if len(self._tries) > 1000:  # addresses of a network that somebody makes up
            self._tries, self._next_try = {"": self._tries[""]}, {"": self._next_try.get("", 0.0)}

    # The file.

    def _read(self) -> _State:
        """Return what the file holds, read again where another process has written it."""
        with self._lock:
            try:
                found = self._path.stat()
            except FileNotFoundError:
                self._kept, self._stamp = _State(), None
                return self._kept
            stamp = found.st_mtime_ns, found.st_size, found.st_ino
            if stamp != self._stamp:
                self._kept, self._stamp = _parsed(self._path), stamp
            return self._kept

    @contextmanager
    def _change(self) -> Iterator[_State]:
        """Yield what the file holds, to be changed; it is written at the end, unless something is raised."""
        with self._lock, _alone(self._path.with_name(LOCK)):
            self._stamp = None
            kept = self._read()
            try:
                yield kept
            except BaseException:
                self._stamp = None
                raise
            old = os.umask(0o077)  # replace_whole makes the file
            try:
                replace_whole(self._path, json.dumps(asdict(kept), indent=1).encode())
            finally:
                os.umask(old)
            hand_over(self._path)
            self._stamp = None


def _person(role: Role, passphrase: str) -> _Person:
    if not MIN_PASSPHRASE <= len(passphrase) <= MAX_PASSPHRASE:
        raise OptionError(
            f"a passphrase has {MIN_PASSPHRASE} to {MAX_PASSPHRASE} characters, and this has {len(passphrase)}; "
            "four words in a row are good"
        )
    salt = secrets.token_bytes(16)
    return _Person(role, salt.hex(), _scrypt(passphrase, salt))


def _scrypt(passphrase: str, salt: bytes) -> str:
    return hashlib.scrypt(passphrase.encode(), salt=salt, dklen=32, **SCRYPT).hex()


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _parsed(path: Path) -> _State:
    try:
        found = json.loads(path.read_bytes())
        return _State(
            found["claim"],
            float(found["claim_until"]),
            {name: _Person(**each) for name, each in found["people"].items()},
            {key: _Session(**each) for key, each in found["sessions"].items()},
            {name: _Token(**each) for name, each in found["tokens"].items()},
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise OptionError(f"{path}: cannot be read ({error}); delete it, and claim the page again") from None


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Only one process at a time changes the accounts. Raises OptionError where nothing can be written."""
    try:
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise OptionError(f"{path}: cannot be written ({error.strerror})") from None
    try:
        hand_over(path)
        until = time.monotonic() + 10.0
        while not try_lock(held):
            if time.monotonic() > until:
                raise OptionError(f"{path}: another program holds it; end it, and try again")
            time.sleep(0.01)
        yield
    finally:
        os.close(held)
