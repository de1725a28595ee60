"""The page: who owns it, and whether others can read what is typed into it."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator

from edge.cli.doctor.findings import CheckResult, Target, broken, doubt, fine, split_todo, unknown
from edge.errors import OptionError
from edge.settings import parse_listen


def check_page(target: Target) -> Iterator[CheckResult]:
    """Check that the page has an owner, and is encrypted where others reach it."""
    where = target.settings.page
    if where.listen is None:
        return
    from edge.page.accounts import Accounts
    from edge.phone.authority import is_private

    if target.state.is_dir() and not os.access(target.state, os.R_OK | os.X_OK):
        yield unknown("page", f"{target.state} is closed to this user", "sudo bear-alarm doctor")
        return
    try:
        claimed = Accounts(target.state).claimed
    except OptionError as error:
        yield broken("page", *split_todo(str(error), "make that disk work again"))
        return
    if claimed:
        reach = "this machine only" if where.loopback else "the network"
        yield fine("page", f"{where.listen}: for {reach}, and it has an owner")
    else:
        yield doubt("page", f"{where.listen}: nobody owns it, so it shows nothing", "bear-alarm page claim")
    host = ipaddress.ip_address(parse_listen(where.listen)[0])
    if where.tls and not (host.is_unspecified or is_private(host)):
        words = f"no browser accepts its certificate for {host}: the page's authority signs private addresses only"
        yield broken("page", words, "put a proxy before it; in a VPN that encrypts, `allow_http: yes` below `page:`")
    if not (where.loopback or where.tls):
        words = "anyone in the network can read its passphrase: with `allow_http` it is not encrypted"
        yield doubt("page", words, "remove `allow_http`, unless a proxy before it or a VPN encrypts")
