"""Why there is no connection, in one sentence for people; never with a user or password in it."""

from __future__ import annotations

import socket
import ssl

BAD_LOGIN = {0x86, 0x87}  # bad user name or password, not authorised
TAKEN_OVER = 0x8E
OLD_PROTOCOL = 0x84  # the broker does not speak this version of MQTT
TOO_LARGE = 0x95
# DISCONNECT: server busy, shutting down, keep alive timeout, session taken over. No message was the cause.
OF_THE_BROKER = {0x89, 0x8B, 0x8D, TAKEN_OVER}
# PUBACK: not authorised, topic name invalid, packet too large, payload format invalid. All else may pass.
FOR_GOOD = {0x87, 0x90, TOO_LARGE, 0x99}


def unreachable(where: str, error: BaseException | None, *, tls: bool) -> str:
    """What kept us from connecting, over TLS or not."""
    host = where.rpartition(":")[0]
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{where}: its certificate is not trusted ({error.verify_message}); give its CA with ca=/path.pem"
    if isinstance(error, ssl.SSLError) or (tls and isinstance(error, ConnectionResetError)):
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        return f"{where}: TLS failed ({why or 'no reason given'}); does it speak TLS on this port?"
    if isinstance(error, socket.gaierror):
        return f"{host}: no such host ({error.strerror}); check the name and the network"
    if isinstance(error, ConnectionRefusedError):
        return f"{where}: nothing listens there; is the broker running?"
    if isinstance(error, TimeoutError):
        return f"{where}: no answer; check the address and the network"
    why = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return f"{where}: no connection ({why}); check the network"


def refused(where: str, code: int, name: str) -> str:
    """What the broker answered instead of letting us in; ``code`` and ``name`` as MQTT 5 has them."""
    if code in BAD_LOGIN:
        return f"{where}: the broker refuses the user or the password ({name})"
    return f"{where}: the broker refuses the connection ({name})"


def lost(where: str, code: int, name: str, *, was_up: bool) -> str:
    """Why a connection ended that we did not end."""
    if code == TAKEN_OVER:
        return f"{where}: another client with the same client id took over; give one of them another with client_id="
    if not was_up:
        return f"{where}: the connection ended before the broker answered ({name}); does it want TLS (mqtts://)?"
    return f"{where}: the connection was lost ({name})"
