"""Who may use the page: the owner, viewers, tokens for machines, and their sessions.

All of it lies in ``page.json`` of the state folder (mode 0600), which the running page and ``bear-alarm page`` both
read and write: passphrases as salted scrypt, everything else that is secret as SHA-256.

Guessing is slow, and strangers never keep the owner out: wrong passphrases of one address make that address wait, up
to 5 minutes. Those of all addresses together use up a stock of tries, which grows by one in 10 s. A browser in which
the owner once logged in is counted by itself, so that no stranger makes it wait.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
import math
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
CLOCK_S = 86_400.0  # that the clock may be set back, and a session goes on
MOST_SESSIONS = 50  # of the owner, and of viewers; the oldest go
MIN_PASSPHRASE, MAX_PASSPHRASE = 10, 200  # characters
NAME = re.compile(r"\w[\w .-]{0,39}")
# 16 MB and some 0.1 s on a PC: a board of 512 MB must not run out of memory by a log-in (RFC 7914, OWASP 2023).
SCRYPT: dict[str, Any] = {"n": 2**14, "r": 8, "p": 5, "maxmem": 64 << 20}
USED = (
    "this link was used, is older than ten minutes, or another was made after it; the command that printed it prints"
    " another"
)
FREE_TRIES = 5  # wrong passphrases in a row of one address before the next one has to wait
MAX_PAUSE_S = 300.0
FORGET_S = 3600.0  # after the last one
MOST_ADDRESSES = 1000  # whose wrong passphrases are counted: somebody may make addresses up
STOCK = 25.0  # wrong passphrases of all addresses, before all have to wait
REFILL_S = 10.0  # for one more
OWN = "the owner's browsers"  # counted as one address


@dataclass(frozen=True)
class Access:
    """Rights of a request. ``csrf`` must come back with every change that a browser asks for."""

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
    """Too many wrong passphrases."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong passphrases; try again in {math.ceil(wait_s)} s")


@dataclass(frozen=True)
class _Secret:
    """A passphrase, by scrypt."""

    salt: str
    hash: str


@dataclass(frozen=True)
class _Session:
    role: Role
    until: float  # time.time()


@dataclass(frozen=True)
class _Token:
    scope: Scope
    hash: str


@dataclass
class _State:
    """Content of the file."""

    claim: str | None = None  # hash of a code that works once
    claim_until: float = 0.0  # time.time()
    people: dict[Role, _Secret] = field(default_factory=dict)
    sessions: dict[str, _Session] = field(default_factory=dict)  # by the hash of the cookie
    tokens: dict[str, _Token] = field(default_factory=dict)  # by name


class Accounts:
    """The accounts kept in the folder ``state``; for any thread and several processes.

    ``clock``: time.time(). Every method and property but ``problem`` raises OptionError where the file is damaged, or
    cannot be read or written.
    """

    def __init__(self, state: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = state / FILE
        self._clock = clock
        self._found: tuple[object, _State] = None, _State()  # what was read, with the stamp of that file
        self._problem: str | None = None
        self._checking = threading.Lock()  # one scrypt at a time: each takes 16 MB
        self._wrong: dict[str, tuple[int, float]] = {}  # by address: wrong passphrases in a row, and when the last was
        self._stock, self._counted_at = STOCK, clock()

    def problem(self) -> str | None:
        """Return why the file could not be read when it was last looked at; None while all is well."""
        return self._problem

    # The owner.

    @property
    def claimed(self) -> bool:
        """Return True once the page has an owner."""
        return "owner" in self._read().people

    def new_claim(self) -> str:
        """Return a code that makes the person with it the owner, once and within ten minutes.

        A new code ends the one before. Where there is an owner, the code gives the page a new owner's passphrase.
        """
        code = secrets.token_urlsafe(18)
        with self._change() as kept:
            kept.claim, kept.claim_until = _hashed(code), self._clock() + CLAIM_S
        return code

    def claim_fits(self, code: str) -> bool:
        """Return True while a code may be used."""
        return self._claim_fits(self._read(), code)

    def claim(self, code: str, passphrase: str) -> str:
        """Make an owner with this passphrase, log everybody out, and return the cookie of a new session.

        Raises OptionError also for a code that does not fit and a passphrase that is too short.
        """
        if not self.claim_fits(code):  # before the work of scrypt
            raise OptionError(USED)
        owner = self._secret(passphrase)
        with self._change() as kept:
            if not self._claim_fits(kept, code):
                raise OptionError(USED)
            kept.claim, kept.claim_until = None, 0.0
            kept.people["owner"] = owner
            kept.sessions.clear()
            return self._begin(kept, "owner")

    def _claim_fits(self, kept: _State, code: str) -> bool:
        return (
            kept.claim is not None
            and 0.0 <= kept.claim_until - self._clock() <= CLAIM_S
            and hmac.compare_digest(kept.claim, _hashed(code))
        )

    # Viewers and tokens.

    def set_viewer(self, passphrase: str | None) -> None:
        """Let people look with a passphrase of their own; None: nobody any more. Their sessions end.

        Raises OptionError also for one that is too short, or the owner's.
        """
        viewer = self._secret(passphrase) if passphrase is not None else None
        with self._checking:
            if passphrase is not None and self._whose(passphrase) == "owner":
                raise OptionError("viewers need another passphrase than yours; choose one")
        with self._change() as kept:
            kept.people.pop("viewer", None)
            if viewer:
                kept.people["viewer"] = viewer
            kept.sessions = {key: each for key, each in kept.sessions.items() if each.role != "viewer"}

    @property
    def has_viewer(self) -> bool:
        """Return True if people may look with a passphrase of their own."""
        return "viewer" in self._read().people

    def new_token(self, name: str, scope: Scope) -> str:
        """Return a token for a machine; it is shown once. Raises OptionError also for a name that is none, or taken."""
        if not NAME.fullmatch(name):
            raise OptionError(f"token {name!r}: give it a name of letters, digits, spaces, . - and _, at most 40")
        token = secrets.token_urlsafe(24)
        with self._change() as kept:
            if name in kept.tokens:
                raise OptionError(f"token {name!r}: there is one of this name; end it first, or choose another name")
            kept.tokens[name] = _Token(scope, _hashed(token))
        return token

    def end_token(self, name: str) -> None:
        """End a token. Raises OptionError also where there is none of this name."""
        with self._change() as kept:
            if kept.tokens.pop(name, None) is None:
                raise OptionError(f"token {name!r}: there is none of this name")

    @property
    def tokens(self) -> dict[str, Scope]:
        """Return the tokens' names and scopes."""
        return {name: token.scope for name, token in self._read().tokens.items()}

    def of_token(self, token: str) -> Access | None:
        """Return the rights of a machine with this token; None for one that is not known."""
        hashed = _hashed(token)
        for name, each in self._read().tokens.items():
            if hmac.compare_digest(each.hash, hashed):
                return Access("viewer", name, token=True, may_review=each.scope == "review")
        return None

    # Sessions.

    def log_in(self, passphrase: str, address: str, own: str = "") -> str:
        """Return the cookie of a new session for a right passphrase.

        ``address``: the client's; ``own``: what its browser has of ``own_browser``. Raises TooManyTriesError,
        OptionError also for a wrong passphrase.
        """
        with self._checking:
            if own and hmac.compare_digest(own.encode(), self.own_browser.encode()):
                address = OWN
            if (wait_s := self._wait_s(address)) > 0.0:
                raise TooManyTriesError(wait_s)
            role = self._whose(passphrase)
            if role is None:
                self._note_wrong(address)
                raise OptionError("this passphrase is wrong")
            if role == "owner":  # a viewer's own passphrase must not give more tries at the owner's
                self._wrong.pop(address, None)
        with self._change() as kept:
            return self._begin(kept, role)

    @property
    def own_browser(self) -> str:
        """Return the mark of a browser in which the owner logged in with the passphrase of now; "" without one."""
        owner = self._read().people.get("owner")
        return _signed(owner.hash, "own browser") if owner else ""

    def of_session(self, cookie: str) -> Access | None:
        """Return the rights of the holder of a cookie; None for a session that is over."""
        kept = self._read()
        session = kept.sessions.get(_hashed(cookie))
        if session is None or session.role not in kept.people:
            return None
        if not 0.0 <= session.until - self._clock() <= SESSION_S + CLOCK_S:
            return None
        return Access(session.role, session.role, _signed(cookie, "csrf"), may_review=session.role == "owner")

    def log_out(self, cookie: str) -> None:
        """End one session."""
        with self._change() as kept:
            kept.sessions.pop(_hashed(cookie), None)

    def log_out_all(self) -> None:
        """End every session, on every device."""
        with self._change() as kept:
            kept.sessions.clear()

    def _begin(self, kept: _State, role: Role) -> str:
        cookie = secrets.token_urlsafe(32)
        kept.sessions[_hashed(cookie)] = _Session(role, self._clock() + SESSION_S)
        mine = [key for key, each in kept.sessions.items() if each.role == role]
        for old in sorted(mine, key=lambda key: kept.sessions[key].until)[:-MOST_SESSIONS]:
            del kept.sessions[old]
        return cookie

    # Passphrases. The lock ``_checking`` is held while one is computed.

    def _secret(self, passphrase: str) -> _Secret:
        if not MIN_PASSPHRASE <= len(passphrase) <= MAX_PASSPHRASE:
            raise OptionError(
                f"a passphrase has {MIN_PASSPHRASE} to {MAX_PASSPHRASE} characters, and this has {len(passphrase)}; "
                "four words in a row are good"
            )
        salt = secrets.token_bytes(16)
        with self._checking:
            return _Secret(salt.hex(), _scrypt(passphrase, salt))

    def _whose(self, passphrase: str) -> Role | None:
        """Return the role of a passphrase; None for a wrong one."""
        if len(passphrase) > MAX_PASSPHRASE:
            return None
        for role, each in self._read().people.items():
            if hmac.compare_digest(each.hash, _scrypt(passphrase, bytes.fromhex(each.salt))):
                return role
        return None

    def _wait_s(self, address: str) -> float:
        """Return for how long an address has to wait until its next try, in seconds; 0 or less: it need not."""
        now = self._clock()
        self._stock = min(STOCK, self._stock + max(0.0, now - self._counted_at) / REFILL_S)
        self._counted_at = now
        tries, last = self._tries(address)
        pause_s = min(2.0 ** (tries - FREE_TRIES + 1), MAX_PAUSE_S) if tries >= FREE_TRIES else 0.0
        wait_s = pause_s - (now - last)
        return wait_s if address == OWN else max(wait_s, (1.0 - self._stock) * REFILL_S)

    def _tries(self, address: str) -> tuple[int, float]:
        """Return how many wrong passphrases came from an address lately, and when the last one did."""
        tries, last = self._wrong.get(address, (0, 0.0))
        return (tries, last) if 0.0 <= self._clock() - last < FORGET_S else (0, 0.0)

    def _note_wrong(self, address: str) -> None:
        if len(self._wrong) >= MOST_ADDRESSES and address not in self._wrong:
            self._wrong.clear()
        self._wrong[address] = self._tries(address)[0] + 1, self._clock()
        if address != OWN:
            self._stock -= 1.0

    # The file.

    def _read(self) -> _State:
        """Return the content of the file, read again where another process has written it; never change it."""
        try:
            try:
                found = self._path.stat()
                stamp = found.st_mtime_ns, found.st_size, found.st_ino
                if stamp != self._found[0]:
                    self._found = stamp, _parsed(self._path)
            except FileNotFoundError:
                self._found = None, _State()
            except OSError as error:
                raise OptionError(
                    f"{self._path}: cannot be read ({error.strerror}); run it as the alarm's user"
                ) from None
        except OptionError as error:
            self._problem = str(error)
            raise
        self._problem = None
        return self._found[1]

    @contextmanager
    def _change(self) -> Iterator[_State]:
        """Yield a copy of the file's content, to be changed; it is written at the end, unless something is raised."""
        with _alone(self._path.with_name(LOCK)):
            kept = copy.deepcopy(self._read())
            yield kept
            replace_whole(self._path, json.dumps(asdict(kept), indent=1).encode(), private=True)


def _scrypt(passphrase: str, salt: bytes) -> str:
    return hashlib.scrypt(passphrase.encode(), salt=salt, dklen=32, **SCRYPT).hex()


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _signed(key: str, words: str) -> str:
    return hmac.new(key.encode(), words.encode(), hashlib.sha256).hexdigest()


def _parsed(path: Path) -> _State:
    """Read the file. Raises OSError, OptionError for a damaged one."""
    data = path.read_bytes()
    try:
        found = json.loads(data)
        return _State(
            found["claim"],
            float(found["claim_until"]),
            {role: _Secret(**each) for role, each in found["people"].items()},
            {key: _Session(each["role"], float(each["until"])) for key, each in found["sessions"].items()},
            {name: _Token(**each) for name, each in found["tokens"].items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        raise OptionError(f"{path}: is damaged; delete it, then the page says how to become its owner") from None


def _denied(path: Path, what: str, error: OSError) -> str:
    todo = "; run this as the alarm's user, or with sudo" if isinstance(error, PermissionError) else ""
    return f"{path}: cannot be {what} ({error.strerror}){todo}"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Only one process at a time changes the accounts. Raises OptionError where nothing can be written."""
    try:
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise OptionError(_denied(path, "written", error)) from None
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
