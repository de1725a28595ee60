"""Keys and signatures in minisign's format: Ed25519 over BLAKE2b-512, with a comment that is signed too.

The format is jedisct1.github.io/minisign. A stock minisign verifies what is signed here, and what it signed is
verified here; but not in its older way, over the file itself, which would be read whole. ``cryptography`` is imported
where it is used: it takes 8 MB.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

from edge.errors import SignatureError

ENDING = ".minisig"  # of a file's signature, beside the file
UNTRUSTED, TRUSTED = "untrusted comment: ", "trusted comment: "
MAX_BYTES = 4096  # of a key or signature file
ED25519, HASHED = b"Ed", b"ED"
SCRYPT, PLAIN, BLAKE2B = b"Sc", b"\0\0", b"B2"
# libsodium's "sensitive" limits, as a stock minisign takes them: 1 GB of memory, some seconds.
OPERATIONS, MEMORY = 1 << 25, 1 << 30
SECRET = struct.Struct("<2s2s2s32sQQ104s")  # kinds of key, derivation and checksum; salt, limits, and what is hidden
HIDDEN = struct.Struct("<8s32s32s32s")  # id, seed, public key, checksum
SECRET_LINE = re.compile(r"RW(?:RTY0|QAAE)Iy[A-Za-z0-9+/]{203}=")  # a secret key, with a passphrase or without


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that verifies."""

    id: bytes  # 8
    key: bytes  # 32

    @property
    def name(self) -> str:
        """Return the id as minisign shows it, 16 hexadecimal digits."""
        return f"{int.from_bytes(self.id, 'little'):016X}"

    @property
    def line(self) -> str:
        """Return the key as one line of base64, as ``minisign -P`` takes it."""
        return base64.b64encode(ED25519 + self.id + self.key).decode()

    @property
    def text(self) -> str:
        """Return the file's text."""
        return f"{UNTRUSTED}minisign public key {self.name}\n{self.line}\n"

    @staticmethod
    def of(text: str, where: object) -> PublicKey:
        """Return the key of a file's text, or of its one line. Raises SignatureError, in which ``where`` names it."""
        lines = text.strip().splitlines()
        data = _decoded(lines[-1]) if 1 <= len(lines) <= 2 else b""
        if len(data) == SECRET.size:
            raise SignatureError(f"{where}: this is a SECRET key; give the public one, which ends with .pub")
        if len(data) != 42 or data[:2] != ED25519:
            raise SignatureError(f"{where}: this is no public key of minisign (Ed25519); copy the .pub file again")
        return PublicKey(data[2:10], data[10:])


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature as its file has it; nothing in it is to be believed before ``verify``."""

    key_id: bytes  # 8
    value: bytes  # 64
    comment: str  # signed too
    comment_value: bytes  # 64: the signature over value and comment

    @property
    def key_name(self) -> str:
        """Return the id of its key as minisign shows it."""
        return PublicKey(self.key_id, b"").name

    @property
    def text(self) -> str:
        """Return the file's text."""
        first = base64.b64encode(HASHED + self.key_id + self.value).decode()
        last = base64.b64encode(self.comment_value).decode()
        return f"{UNTRUSTED}signature of a bear-alarm model or key\n{first}\n{TRUSTED}{self.comment}\n{last}\n"

    @staticmethod
    def of(text: str, where: object) -> Signature:
        """Return the signature of a file's text. Raises SignatureError, in which ``where`` names it."""
        lines = text.strip().replace("\r\n", "\n").split("\n")
        if len(lines) != 4 or not lines[0].startswith(UNTRUSTED) or not lines[2].startswith(TRUSTED):
            raise SignatureError(f"{where}: this is no whole signature of minisign; copy the {ENDING} file again")
        data, last = _decoded(lines[1]), _decoded(lines[3])
        if data[:2] == ED25519:
            raise SignatureError(
                f"{where}: signed in minisign's older way; sign it again with minisign 0.10 or later, or with "
                "`bear-alarm model sign`"
            )
        if len(data) != 74 or len(last) != 64 or data[:2] != HASHED:
            raise SignatureError(
                f"{where}: the signature is truncated or of another kind than Ed25519; copy the {ENDING} file again"
            )
        comment = lines[2].removeprefix(TRUSTED)
        if not comment.replace("\t", " ").isprintable():  # it is shown to people
            raise SignatureError(f"{where}: its comment {comment!r} has characters that cannot be shown; sign it again")
        return Signature(data[2:10], data[10:], comment, last)


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A key that signs. It stays with who makes models, never on a device."""

    public: PublicKey
    seed: bytes = field(repr=False)  # 32

    def sign(self, file: Path, comment: str) -> Signature:
        """Return the signature of a file, with a comment of one line. Raises OSError."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key = Ed25519PrivateKey.from_private_bytes(self.seed)
        signature = key.sign(_digest(file))
        return Signature(self.public.id, signature, comment, key.sign(signature + comment.encode()))

    def locked(self, passphrase: str, *, operations: int = OPERATIONS, memory: int = MEMORY) -> str:
        """Return the file's text, which only ``passphrase`` opens; the limits are those of libsodium's scrypt."""
        checksum = _checksum(self.public, self.seed)
        open_ = HIDDEN.pack(self.public.id, self.seed, self.public.key, checksum)
        salt = os.urandom(32)
        hidden = _mixed(open_, passphrase, salt, operations, memory)
        data = SECRET.pack(ED25519, SCRYPT, BLAKE2B, salt, operations, memory, hidden)
        return f"{UNTRUSTED}minisign encrypted secret key {self.public.name}\n{base64.b64encode(data).decode()}\n"

    @staticmethod
    def new() -> SecretKey:
        """Return a new key."""
        seed = os.urandom(32)
        return SecretKey(PublicKey(os.urandom(8), _public_of(seed)), seed)

    @staticmethod
    def of(text: str, passphrase: str, where: object) -> SecretKey:
        """Return the key of a file's text. Raises SignatureError for a wrong passphrase, and what is no secret key."""
        parts = secret_parts(text)
        if parts is None:
            raise SignatureError(f"{where}: this is no secret key of minisign; name the file that `model keygen` wrote")
        _, derivation, _, salt, operations, memory, hidden = parts
        if derivation == SCRYPT:
            if operations > OPERATIONS or memory > MEMORY:
                raise SignatureError(
                    f"{where}: the file is damaged (it asks for {memory >> 20} MB); take your copy of it"
                )
            hidden = _mixed(hidden, passphrase, salt, operations, memory)
        id_, seed, public, checksum = HIDDEN.unpack(hidden)
        key = SecretKey(PublicKey(id_, public), seed)
        # A stock minisign writes no checksum into a key without a passphrase.
        if checksum != _checksum(key.public, seed) if derivation == SCRYPT else public != _public_of(seed):
            raise SignatureError(f"{where}: the passphrase is wrong, or the file is damaged; type it again")
        return key


def secret_parts(text: str) -> tuple[bytes, bytes, bytes, bytes, int, int, bytes] | None:
    """Return the parts of a secret key's file, as ``SECRET`` has them; None where it is none."""
    lines = text.strip().splitlines()
    data = _decoded(lines[-1]) if 1 <= len(lines) <= 2 else b""
    if len(data) != SECRET.size:
        return None
    parts = SECRET.unpack(data)
    if parts[0] != ED25519 or parts[1] not in (SCRYPT, PLAIN) or parts[2] != BLAKE2B:
        return None
    return parts


def is_secret(file: Path) -> bool:
    """Return True for the file of a secret key."""
    try:
        return secret_parts(text_of(file)) is not None
    except SignatureError:  # a model is longer
        return False


def _digest(file: Path) -> bytes:
    """Return what is signed of a file. Raises OSError."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, hashlib.blake2b).digest()


def verify(signature: Signature, key: PublicKey, file: Path, where: object) -> None:
    """Check that ``key`` signed this file and this comment. Raises SignatureError, also where the disk is gone."""
    verify_comment(signature, key, where)
    try:
        message = _digest(file)
    except OSError as error:
        raise SignatureError(f"{file}: cannot be read ({error.strerror}); check the path and the disk") from None
    if not _signed(key, signature.value, message):
        raise SignatureError(
            f"{where}: the signature does not fit; the file is truncated or was changed: copy both files again"
        )


def verify_comment(signature: Signature, key: PublicKey, where: object) -> None:
    """Check that ``key`` signed the comment. Raises SignatureError. The file itself may still be another."""
    if signature.key_id != key.id:
        raise SignatureError(f"{where}: signed by key {signature.key_name}, not by {key.name}")
    if not _signed(key, signature.comment_value, signature.value + signature.comment.encode()):
        raise SignatureError(f"{where}: the signature or its comment was changed; copy the {ENDING} file again")


def _public_of(seed: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _signed(key: PublicKey, value: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key.key).verify(value, message)
    except InvalidSignature:
        return False
    return True


def text_of(file: Path) -> str:
    """Return the text of a key or signature file. Raises SignatureError."""
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise SignatureError(f"{file}: cannot be read ({error.strerror}); check the path and the disk") from None
    if len(data) > MAX_BYTES:
        raise SignatureError(f"{file}: too long for a key or signature of minisign; name one of those")
    return data.decode(errors="replace")


def _decoded(line: str) -> bytes:
    """Return what base64 holds; empty where it is none, or not written in the one right way."""
    try:
        data = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if base64.b64encode(data).decode() == line else b""


def _checksum(public: PublicKey, seed: bytes) -> bytes:
    return hashlib.blake2b(ED25519 + public.id + seed + public.key, digest_size=32).digest()


def _mixed(data: bytes, passphrase: str, salt: bytes, operations: int, memory: int) -> bytes:
    """Return data hidden or shown by a passphrase. Raises SignatureError for limits this machine cannot keep."""
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    n, r, p = _scrypt_costs(operations, memory)
    try:
        stream = Scrypt(salt=salt, length=len(data), n=n, r=r, p=p).derive(passphrase.encode(errors="surrogateescape"))
    except (MemoryError, ValueError):
        raise SignatureError(
            f"opening this key needs {128 * n * r >> 20} MB of memory; sign on a machine that has them"
        ) from None
    return bytes(a ^ b for a, b in zip(data, stream, strict=True))


def _scrypt_costs(operations: int, memory: int) -> tuple[int, int, int]:
    """Return Scrypt's N, r and p of libsodium's limits (pickparams of crypto_pwhash_scryptsalsa208sha256)."""
    operations, r = max(operations, 1 << 15), 8
    if operations < memory // 32:
        largest, p = operations // (4 * r), 1
        return 1 << max((largest // 2).bit_length(), 1), r, p
    n = 1 << max((memory // (128 * r) // 2).bit_length(), 1)
    return n, r, max(min(operations // 4 // n, 0x3FFFFFFF) // r, 1)
