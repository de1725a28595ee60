"""Where to listen, as a user writes it."""

from __future__ import annotations

import ipaddress
import re

from edge.errors import OptionError

HERE = "127.0.0.1"


def parse_listen(listen: str) -> tuple[str, int]:
    """The address and port of ``[ADDRESS:]PORT``; a port alone listens on 127.0.0.1, port 0 on any that is free.

    An address of IPv6 stands in brackets. Names other than localhost are none: they would need a name server.
    Raises OptionError.
    """
    match = re.fullmatch(r"(?:(?:\[(?P<six>[^\[\]]*)\]|(?P<four>[^:\[\]]*)):)?(?P<port>[0-9]{1,5})", listen.strip())
    problem = f"{listen!r} is no place to listen on"
    how = f"give a port, {HERE}:PORT, 0.0.0.0:PORT or [::1]:PORT"
    if not match:
        raise OptionError(f"{problem}; {how}")
    port = int(match["port"])
    if port > 65_535:
        raise OptionError(f"{problem}: a port is at most 65535; {how}")
    if match["six"] is None and match["four"] is None:
        return HERE, port
    named = match["six"] or match["four"] or ""
    if named.lower() == "localhost" and match["six"] is None:
        return HERE, port
    try:
        address = ipaddress.ip_address(named)
    except ValueError:
        raise OptionError(f"{problem}: {named!r} is no address of a network; {how}") from None
    if (address.version == 6) != (match["six"] is not None):
        raise OptionError(f"{problem}: brackets are for addresses of IPv6; {how}")
    return str(address), port
