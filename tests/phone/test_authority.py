"""The authority of `bear-alarm phone --serve`: what it may vouch for, how long, and who may read its key."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from edge.errors import OptionError
from edge.phone import authority
from edge.phone.authority import LOOPBACK, Identity, identity, is_private

NOW = datetime.now(UTC)
HIVE = [ipaddress.ip_address(each) for each in ("192.168.7.20", "127.0.0.1", "fd00::20")]


def server_certificate(who: Identity) -> x509.Certificate:
    """The server's certificate."""
    return x509.load_pem_x509_certificate(who.server.read_bytes())


def refusal(who: Identity, name: str, *, flags: ssl.VerifyFlags = ssl.VerifyFlags.VERIFY_DEFAULT) -> str:
    """Why a client that trusts this authority alone refuses the server under a name; empty where it does not."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.load_verify_locations(cadata=who.authority)
    trusting.verify_flags |= flags
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(back, there, server_hostname=name)
    server = who.context().wrap_bio(there, back, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    assert client.version() == "TLSv1.3"
    return ""


@pytest.mark.parametrize("name", ["192.168.7.20", "127.0.0.1", "fd00::20", "hive.local", "localhost"])
def test_a_client_that_trusts_the_authority_trusts_the_server_under_each_of_its_names(tmp_path: Path, name: str):
    who = identity(tmp_path, HIVE, "hive")
    assert refusal(who, name, flags=ssl.VerifyFlags.VERIFY_X509_STRICT) == ""


def test_a_client_that_trusts_another_authority_refuses_it(tmp_path: Path):
    mine, other = (identity(tmp_path / each, HIVE, "hive") for each in ("mine", "other"))
    assert mine.fingerprint != other.fingerprint
    assert refusal(Identity(other.authority, mine.server), "hive.local") != ""


@pytest.mark.parametrize("name", ["bears.example", "8.8.8.8", "local.example", "2001:db8::1"])
def test_what_it_signs_for_other_places_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    try:
        signed: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        signed = x509.DNSName(name)
    monkeypatch.setattr(authority, "_names", lambda addresses, host: [signed])
    assert refusal(identity(tmp_path, HIVE, "hive"), name) == "permitted subtree violation"


def test_the_authority_signs_servers_alone_and_lasts_ten_years(tmp_path: Path):
    who = identity(tmp_path, HIVE, "hive", now=NOW)
    found = x509.load_der_x509_certificate(who.authority)
    basic = found.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    limits = found.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    assert limits.value.excluded_subtrees is None
    permitted = {str(each.value) for each in limits.value.permitted_subtrees or ()}
    assert permitted == {
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"),
        *("fc00::/7", "fe80::/10", "::1/128", "local", "localhost"),
    }
    usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.digital_signature) == (True, False)
    purposes = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert timedelta(days=3650) <= found.not_valid_after_utc - found.not_valid_before_utc <= timedelta(days=3660)
    digest = hashlib.sha256(who.authority).hexdigest()
    assert who.fingerprint.replace(" ", "").lower() == digest
    assert [len(line.split()) for line in who.fingerprint_lines] == [8] * 4
    assert " ".join(who.fingerprint_lines) == who.fingerprint


def test_the_server_s_certificate_is_one_that_phones_take(tmp_path: Path):
    found = server_certificate(identity(tmp_path, HIVE, "hive", now=NOW))
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == HIVE
    assert names.get_values_for_type(x509.DNSName) == ["hive.local", "localhost"]
    assert found.not_valid_after_utc - found.not_valid_before_utc <= timedelta(days=398)
    assert found.not_valid_before_utc <= NOW - timedelta(days=2), "a phone's clock may be behind"
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.skipif(os.name != "posix", reason="no modes on this system")
def test_nobody_else_may_read_the_keys(tmp_path: Path):
    identity(tmp_path / "phone", HIVE, "hive")
    assert {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "phone").iterdir()} == {
        "authority.pem": 0o600,
        "server.pem": 0o600,
    }


@pytest.mark.parametrize(
    ("addresses", "name", "days"), [(HIVE, "hive", 300), (HIVE, "hive", -6), (HIVE[1:], "hive", 0), (HIVE, None, 0)]
)
def test_both_are_kept_from_start_to_start_while_they_name_what_is_served(tmp_path: Path, addresses, name, days):
    first = identity(tmp_path, HIVE, "hive", now=NOW)
    kept = first.server.read_bytes()
    again = identity(tmp_path, addresses, name, now=NOW + timedelta(days=days))
    assert again.authority == first.authority
    assert again.server.read_bytes() == kept


@pytest.mark.parametrize(
    ("addresses", "name", "days"),
    [
        ([*HIVE, ipaddress.ip_address("10.0.0.3")], "hive", 0),
        (HIVE, "yard", 0),
        (HIVE, "hive", 397 - 7 - 29),
        (HIVE, "hive", 500),
    ],
)
def test_the_server_s_certificate_alone_is_made_again_when_it_has_to_be(tmp_path: Path, addresses, name, days):
    first = identity(tmp_path, HIVE, "hive", now=NOW)
    old = server_certificate(first)
    then = NOW + timedelta(days=days)
    again = identity(tmp_path, addresses, name, now=then)
    new = server_certificate(again)
    assert again.authority == first.authority
    assert new.serial_number != old.serial_number
    assert new.not_valid_before_utc <= then < new.not_valid_after_utc - timedelta(days=30)
    names = new.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == addresses


@pytest.mark.parametrize("days", [-30, 3700])
def test_a_clock_outside_the_authority_s_dates_is_a_sentence_and_spoils_nothing(tmp_path: Path, days: int):
    first = identity(tmp_path, HIVE, "hive", now=NOW)
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    then = NOW + timedelta(days=days)
    with pytest.raises(
        OptionError, match=rf"clock says {then:%Y-%m-%d}, and .*authority\.pem .*; set the clock, or rem"
    ):
        identity(tmp_path, HIVE, "hive", now=then)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept
    assert identity(tmp_path, HIVE, "hive", now=NOW) == first


def test_a_clock_that_was_ahead_costs_the_server_s_certificate_alone(tmp_path: Path):
    first = identity(tmp_path, HIVE, "hive", now=NOW)
    identity(tmp_path, HIVE, "hive", now=NOW + timedelta(days=1000))
    again = identity(tmp_path, HIVE, "hive", now=NOW)
    assert again.authority == first.authority
    assert server_certificate(again).not_valid_before_utc <= NOW


@pytest.mark.parametrize("file", ["authority.pem", "server.pem"])
@pytest.mark.parametrize("part", [slice(0), slice(100), slice(300, None)])
def test_a_damaged_file_is_a_sentence_and_stays_as_it_is(tmp_path: Path, file: str, part: slice):
    identity(tmp_path, HIVE, "hive")
    damaged = (tmp_path / file).read_bytes()[part]
    (tmp_path / file).write_bytes(damaged)
    with pytest.raises(OptionError, match=f"{file}: is damaged; remove it"):
        identity(tmp_path, HIVE, "hive")
    assert (tmp_path / file).read_bytes() == damaged


def test_a_clock_that_cannot_be_right_is_a_sentence(tmp_path: Path):
    with pytest.raises(OptionError, match="clock says 1970-01-05"):
        identity(tmp_path, HIVE, "hive", now=datetime(1970, 1, 5, tzinfo=UTC))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "172.20.10.1", "192.168.0.1", "169.254.9.9", "127.0.0.1", "fd12::1", "::1"]
)
def test_private_networks(address: str):
    assert is_private(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "192.169.0.1", "100.64.0.1", "2001:db8::1", "0.0.0.0", "::"]
)
def test_public_addresses(address: str):
    assert not is_private(ipaddress.ip_address(address))


def interfaces(monkeypatch: pytest.MonkeyPatch, **told: tuple[str, bool, str]) -> None:
    """Let this machine have these interfaces: each its address, whether it is connected, and its flags."""
    addresses = {
        name: [SimpleNamespace(family=socket.AF_INET6 if ":" in address else socket.AF_INET, address=address)]
        for name, (address, _, _) in told.items()
    }
    states = {name: SimpleNamespace(isup=up, flags=flags) for name, (_, up, flags) in told.items()}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: addresses)
    monkeypatch.setattr(psutil, "net_if_stats", lambda: states)


def test_addresses_that_phones_may_reach_come_first_and_of_the_others_it_is_said_why_not(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(authority, "_towards_others", lambda: ipaddress.ip_address("192.168.7.20"))
    interfaces(
        monkeypatch,
        lo=("127.0.0.1", True, "up,loopback,running"),
        docker0=("172.17.0.1", False, "up,broadcast,multicast"),
        wg0=("10.8.0.2", True, "up,pointopoint,running,noarp"),
        eth1=("10.0.0.5", True, "up,broadcast,running,multicast"),
        wlan0=("192.168.7.20", True, "up,broadcast,running,multicast"),
        ppp0=("100.64.0.7", True, "up,pointopoint,running"),
        eth2=("fe80::1%eth2", True, "up,broadcast,running,multicast"),
    )
    found = authority.own_addresses()
    assert [(str(own.address), own.fault, own.can_be_served) for own in found] == [
        ("192.168.7.20", "", True),
        ("10.0.0.5", "", True),
        ("10.8.0.2", "is one end of a tunnel", True),
        ("100.64.0.7", "is not in a private network", False),
        ("127.0.0.1", "is for this machine alone", True),
        ("172.17.0.1", "is not connected", True),
        ("fe80::1", "cannot be named in a browser", False),
    ]


def test_this_machine_has_a_loopback_address_and_each_address_once():
    own = authority.own_addresses()
    assert LOOPBACK in [each.address for each in own]
    assert len({each.address for each in own}) == len(own)
    assert all(each.can_be_served for each in own if not each.fault)
