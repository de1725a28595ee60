"""A certificate authority of this machine's own, and the server's certificate that it signs.

A browser opens the camera for pages of HTTPS alone, and no public authority signs addresses of a local network.
Browsers that check its limits accept it for private networks and .local names only.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import OptionError
from edge.files import hand_over

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, ExtendedKeyUsage, GeneralName, KeyUsage, Name

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
LOOPBACK = ipaddress.ip_address("127.0.0.1")

PRIVATE = tuple(
    ipaddress.ip_network(each)
    for each in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "127.0.0.0/8",
        "fc00::/7",
        "fe80::/10",
        "::1/128",
    )
)
NAMES = "local", "localhost"  # the domains it may vouch for

CA_FILE, SERVER_FILE = "authority.pem", "server.pem"  # the private key first, then the certificate
CA_YEARS = 10
SERVER_DAYS = 397  # phones refuse more than 398
RENEW_DAYS = 30  # before its end
EARLY_DAYS = 7  # a phone's clock may be behind this one
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)  # before it no clock can be right: this program was not written


@dataclass(frozen=True)
class Identity:
    """Certificates of a server: the authority's certificate, and the server's certificate with its key."""

    authority: bytes  # DER
    server: Path  # PEM, key and certificate

    @property
    def fingerprint(self) -> str:
        """Return the SHA-256 of the authority's certificate, as phones show it."""
        return hashlib.sha256(self.authority).digest().hex(" ").upper()

    @property
    def fingerprint_lines(self) -> list[str]:
        """Return the fingerprint as four lines of eight pairs, to compare one by one."""
        return [self.fingerprint[at : at + 24].strip() for at in range(0, len(self.fingerprint), 24)]

    def context(self) -> ssl.SSLContext:
        """Return the TLS settings of the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.server)
        return context


def is_private(address: Address) -> bool:
    """Return whether an address is of a private network or of this machine alone."""
    return any(address.version == network.version and address in network for network in PRIVATE)


def identity(folder: Path, addresses: Sequence[Address], name: str | None, *, now: datetime | None = None) -> Identity:
    """Return the identity that is kept in a folder, made or renewed where it has to be.

    The authority is made once, and never replaced: phones trust it, and the clock may be wrong. The server's
    certificate is made again when an address or the name is not in it, and 30 days before its end. ``name``: this
    machine's, without .local. Raises OptionError.
    """
    now = now or datetime.now(UTC)
    if now < FIRST_DAY:
        raise OptionError(f"this machine's clock says {now:%Y-%m-%d}; set it, for certificates have dates")
    try:
        missing = [each for each in (*reversed(folder.parents), folder) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for each in missing:
            hand_over(each)
        ca = _read(folder / CA_FILE)
        if ca is None:
            ca = _make_authority(now)
            _write(folder / CA_FILE, *ca)
        elif not ca[1].not_valid_before_utc <= now <= ca[1].not_valid_after_utc:
            raise OptionError(
                f"this machine's clock says {now:%Y-%m-%d}, and {folder / CA_FILE} holds from "
                f"{ca[1].not_valid_before_utc:%Y-%m-%d} to {ca[1].not_valid_after_utc:%Y-%m-%d}; set the clock, "
                "or remove that file and install the new certificate on the phones"
            )
        server = _read(folder / SERVER_FILE)
        if server is None or not _still_good(server[1], ca[1], addresses, name, now):
            _write(folder / SERVER_FILE, *_make_server(ca, addresses, name, now))
    except OSError as error:
        raise OptionError(f"{folder}: the certificates cannot be kept there ({error.strerror})") from None
    from cryptography.hazmat.primitives.serialization import Encoding

    return Identity(ca[1].public_bytes(Encoding.DER), folder / SERVER_FILE)


Pair = tuple["EllipticCurvePrivateKey", "Certificate"]


def _make_authority(now: datetime) -> Pair:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = _named(f"Bear Alarm of {host_name() or 'this machine'}")
    permitted: list[GeneralName] = [*map(x509.IPAddress, PRIVATE), *map(x509.DNSName, NAMES)]
    certificate = (
        _dated(x509.CertificateBuilder(), now, timedelta(days=round(365.25 * CA_YEARS)))
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(_for_servers(), critical=False)
        .add_extension(x509.NameConstraints(permitted, excluded_subtrees=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return key, certificate


def _make_server(ca: Pair, addresses: Sequence[Address], name: str | None, now: datetime) -> Pair:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    ca_key, ca_certificate = ca
    key = ec.generate_private_key(ec.SECP256R1())
    signer = ca_certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _dated(x509.CertificateBuilder(), now, timedelta(days=SERVER_DAYS))
        .subject_name(_named("Bear Alarm"))
        .issuer_name(ca_certificate.subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(_for_servers(), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(addresses, name)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    return key, certificate


def _still_good(
    server: Certificate, ca: Certificate, addresses: Sequence[Address], name: str | None, now: datetime
) -> bool:
    """Return whether the server's certificate can still be used."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    try:
        server.verify_directly_issued_by(ca)
        held = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, InvalidSignature, x509.ExtensionNotFound):
        return False
    if not set(held) >= set(_names(addresses, name)):
        return False
    return server.not_valid_before_utc <= now <= server.not_valid_after_utc - timedelta(days=RENEW_DAYS)


def _names(addresses: Sequence[Address], name: str | None) -> list[GeneralName]:
    from cryptography import x509

    hosts = [*([f"{name}.local"] if name else []), "localhost"]
    return [*map(x509.IPAddress, addresses), *map(x509.DNSName, hosts)]


def _named(words: str) -> Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, words[:64])])


def _dated(builder: CertificateBuilder, now: datetime, lasts: timedelta) -> CertificateBuilder:
    from cryptography import x509

    begin = now - timedelta(days=EARLY_DAYS)
    dated = builder.not_valid_before(begin).not_valid_after(begin + lasts)
    return dated.serial_number(x509.random_serial_number())


def _for_servers() -> ExtendedKeyUsage:
    from cryptography import x509

    return x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])


def _usage(*, signs_certificates: bool) -> KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _read(path: Path) -> Pair | None:
    """Return the key and certificate in a file; None if there is no file. Raises OptionError for a damaged one."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        key, certificate = load_pem_private_key(data, None), x509.load_pem_x509_certificate(data)
    except (ValueError, TypeError):
        pass
    else:
        if isinstance(key, EllipticCurvePrivateKey) and certificate.public_key() == key.public_key():
            return key, certificate
    raise OptionError(f"{path}: is damaged; remove it, start again, and install the new certificate on the phones")


def _write(path: Path, key: EllipticCurvePrivateKey, certificate: Certificate) -> None:
    """Write key and certificate whole, for nobody but the owner."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        hand_over(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


# This machine in its networks.


def host_name() -> str | None:
    """Return this machine's name as .local knows it; None if it has none that fits."""
    name = socket.gethostname().partition(".")[0].lower()
    return name if re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name) and name != "localhost" else None


@dataclass(frozen=True)
class OwnAddress:
    """An address of this machine."""

    address: Address
    fault: str  # why phones do not reach it; empty where they may

    @property
    def can_be_served(self) -> bool:
        """Return whether a certificate can name it, and a browser open it."""
        return is_private(self.address) and not (self.address.version == 6 and self.address.is_link_local)


def own_addresses() -> list[OwnAddress]:
    """Return this machine's addresses: first those that phones may reach, the one to the outer world before all."""
    import psutil

    states, found = psutil.net_if_stats(), dict[Address, OwnAddress]()
    for interface, entries in psutil.net_if_addrs().items():
        state = states.get(interface)
        for each in entries:
            if each.family in (socket.AF_INET, socket.AF_INET6):
                address = ipaddress.ip_address(each.address.partition("%")[0])
                found[address] = OwnAddress(address, _fault(address, state))
    usual = _towards_others()
    return sorted(
        found.values(),
        key=lambda own: (own.fault != "", own.address != usual, own.address.version, int(own.address)),
    )


def _fault(address: Address, state: Any) -> str:
    if address.is_loopback:
        return "is for this machine alone"
    if not is_private(address):
        return "is not in a private network"
    if address.version == 6 and address.is_link_local:
        return "cannot be named in a browser"
    if state is not None and not state.isup:  # a bridge with nobody on it too
        return "is not connected"
    if state is not None and "pointopoint" in state.flags:
        return "is one end of a tunnel"
    return ""


def _towards_others() -> Address | None:
    """Return the address from which this machine speaks to others; None without a network. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))  # of no network (RFC 5737)
        except OSError:
            return None
        return ipaddress.ip_address(asked.getsockname()[0])
