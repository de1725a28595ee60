"""``bear-alarm page``: become the owner of the page, or end every session. It prints secrets on the terminal only."""

from __future__ import annotations

import os
import shlex
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.help_page import command_group
from edge.cli.options import ConfigOpt, StateOpt, config_for, settings_of, target_of
from edge.cli.output import qr_code
from edge.config import ENVIRONMENT as CONFIG
from edge.config import SYSTEM
from edge.errors import ConfigError, OptionError
from edge.files import ENVIRONMENT, SERVICE, made_state_folder
from edge.settings import parse_listen

if TYPE_CHECKING:
    from edge.settings import PageSettings, Settings

DEFAULT = "127.0.0.1:8470"  # as `config init` writes it
HTTP_PORT = 8080

app = command_group(no_args_is_help=True, help="Become the owner of the alarm's page in a browser.")
PageOpt = Annotated[
    str | None,
    typer.Option(
        "--page", metavar="[ADDRESS:]PORT", help=f"Where the page is (default: the config's, else {DEFAULT})."
    ),
]


@app.command()
def claim(config: ConfigOpt = None, state: StateOpt = None, page: PageOpt = None) -> None:
    """Print a link that makes you the owner of the page. It works once, for ten minutes.

    Run it on the device, as the user who runs the alarm; for a service with sudo. If you have forgotten the
    passphrase, it is the way to choose another.
    """
    from edge.page.accounts import Accounts
    from edge.page.serving import addresses_of
    from edge.record.run import watching_run

    settings, folder = _found(config, state)
    where = _where(settings, page)
    addresses = addresses_of(where)
    code = Accounts(folder).new_claim()
    links = [f"{address}/claim?code={code}" for address in addresses]
    which = "this link" if len(links) == 1 else "one of these links"
    print(f"Open {which} within ten minutes, and choose a passphrase. It works once.\n")
    if not where.loopback or where.names:  # else no phone reaches it
        print(qr_code(links[0]))
    print("\n".join(f"  {link}" for link in links))
    if where.tls:
        given = {"--config": config, "--state": state, "--page": page}
        options = [str(each) for option, value in given.items() if value for each in (option, value)]
        trust = shlex.join(["bear-alarm", "page", "trust", *options])
        print(f"\nThe browser does not know this page's certificate yet: `{trust}` installs it first.")
    elif where.loopback and not where.names:
        print("\nOnly this machine reaches it. For the network: --page 0.0.0.0:PORT, or `listen` below `page:`.")
    if not watching_run(folder):
        print(f"\nNothing runs with the folder {folder} now: start it, and the link works then.")


@app.command()
def logout(config: ConfigOpt = None, state: StateOpt = None) -> None:
    """End every session of the page, on every phone and computer."""
    from edge.page.accounts import Accounts

    Accounts(_found(config, state)[1]).log_out_all()
    print("Everybody is logged out.")


@app.command()
def trust(
    config: ConfigOpt = None,
    state: StateOpt = None,
    page: PageOpt = None,
    http_port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of the page with the steps.")] = HTTP_PORT,
) -> None:
    """Hand out the page's certificate to phones and computers, with the steps, until Ctrl-C."""
    from edge.page.serving import addresses_of, page_identity
    from edge.phone.authority import host_name, own_addresses
    from edge.phone.server import HelpServer

    settings, folder = _found(config, state)
    where = _where(settings, page)
    if not where.tls:
        raise OptionError(
            "this page has no certificate to trust; --page 0.0.0.0:PORT, or `listen` below `page:`, gives it one"
        )
    own = [each.address for each in own_addresses() if not each.fault]
    if not own:
        raise OptionError("this machine has no address that a phone reaches; connect it to a network")
    host, port = parse_listen(str(where.listen))
    who, name, address = page_identity(folder, host), host_name(), addresses_of(where)[0]
    by_name = f"https://{name}.local:{port}/" if name else None
    with closing(HelpServer("--http-port", own[0], http_port)) as server:
        server.show(who, f"{address}/", by_name, device=True)
        print(f"{qr_code(server.url)}\n1. In the same network, open   {server.url}")
        print("   It gives the phone or computer a certificate to install, with the steps.")
        print("2. Compare the certificate's SHA-256 fingerprint with this one:")
        print("\n".join(f"       {line}" for line in who.fingerprint_lines))
        print(f"3. Then open the page: {address}\n   End this with Ctrl-C.", flush=True)
        while True:  # until KeyboardInterrupt
            time.sleep(0.5)


def _found(config: Path | None, state: Path | None) -> tuple[Settings, Path]:
    """Return the settings and the state folder of the alarm whose page it is.

    Where the service is installed, they are the service's, unless another one is named, or runs here now.
    """
    from edge.record.run import watching_run

    own = target_of(config, state)
    named = config or state or any(os.environ.get(name) for name in (CONFIG, ENVIRONMENT))
    if not named and own.has_service and (own.state == SERVICE or not watching_run(own.state)):
        settings = settings_of(SYSTEM)
        return settings, made_state_folder(settings.state or SERVICE)
    return own.settings, made_state_folder(own.state)


def _where(settings: Settings, given: str | None) -> PageSettings:
    """Return the settings of the page, with the address that was given. Raises OptionError for what is none."""
    where = replace(settings.page, listen=given or settings.page.listen or DEFAULT)
    parse_listen(str(where.listen))
    return where


def claim_command(settings: Settings, state: Path, config: Path | None) -> str:
    """Return the command that claims the page of an alarm with these settings, of ``config``, and this state."""
    try:
        usual = config_for(None)
        other = config is not None and config not in {usual, SYSTEM}
        own = target_of(config if other or config == SYSTEM else usual, None)
        places = [parse_listen(str(each)) for each in (settings.page.listen, own.settings.page.listen or DEFAULT)]
        options = ["--config", str(config)] if other else []
        options += ["--page", str(settings.page.listen)] if places[0] != places[1] else []
        options += ["--state", str(state)] if state != own.state else []
    except (OptionError, ConfigError):  # of a config that is not in use: the command itself says what is wrong in it
        options = []
    return shlex.join(["bear-alarm", "page", "claim", *options])
