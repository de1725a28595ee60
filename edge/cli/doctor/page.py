"""The page: who owns it, and whether others can read what is typed into it."""

from __future__ import annotations

import os
from collections.abc import Iterator

from edge.cli.doctor.findings import CheckResult, Target, broken, doubt, fine, split_todo, unknown
from edge.errors import OptionError


def check_page(target: Target) -> Iterator[CheckResult]:
    """Check that the page has an owner, and is encrypted where others reach it."""
    where = target.settings.page
    if where.listen is None:
        return
    from edge.page.accounts import Accounts

    try:
        claimed = Accounts(target.state).claimed
    except OptionError as error:
        words, todo = split_todo(str(error), "make that disk work again")
        yield (
            unknown("page", words, todo)
            if isinstance(error.__context__, PermissionError)
            else broken("page", words, todo)
        )
        return
    if not claimed:
        yield doubt("page", f"{where.listen}: nobody owns it, so it shows nothing", "bear-alarm page claim")
    else:
        reach = "for this machine only" if where.loopback else "for the network"
        yield fine("page", f"{where.listen}: {reach}, and it has an owner")
    if not (where.loopback or where.tls):
        words = "anyone in the network can read its passphrase: `allow_http` has it not encrypted"
        yield doubt("page", words, "remove `allow_http`, unless it is behind a proxy that encrypts")
