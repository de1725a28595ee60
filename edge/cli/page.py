"""``bear-alarm page``: become the owner of the page, or end every session. It prints secrets on the terminal only."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.help_page import command_group
from edge.cli.options import ConfigOpt, StateOpt, config_for, settings_of
from edge.cli.output import qr_code
from edge.config import SYSTEM
from edge.errors import OptionError
from edge.files import JOURNAL, SERVICE, made_state_folder
from edge.settings import parse_listen

if TYPE_CHECKING:
    from edge.settings import Settings

log = logging.getLogger(__name__)

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

    Run it on the device, as the user who runs the alarm. If you have forgotten the passphrase, it is the way to
    choose another.
    """
    from edge.page.accounts import Accounts

    settings, folder = _found(config, state)
    addresses = _addresses(settings, page)
    code = Accounts(folder).new_claim()
    links = [f"{address}/claim?code={code}" for address in addresses]
    print(f"Open one of these links within ten minutes, and choose a passphrase. It works once.\n\n{qr_code(links[0])}")
    print("\n".join(f"  {link}" for link in links))
    if links[0].startswith("https"):
        print("\nThe browser does not know this alarm's certificate yet: `bear-alarm page trust` installs it first.")
    elif "//127." in links[0] or "//[::1]" in links[0]:
        print("\nOnly this machine reaches it. For the network: `listen: 0.0.0.0:PORT` below `page:` in the config.")


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
    from edge.phone.authority import LOOPBACK, host_name, identity, own_addresses
    from edge.phone.server import HelpServer

    settings, folder = _found(config, state)
    own = [each.address for each in own_addresses() if not each.fault]
    if not own:
        raise OptionError("this machine has no address that a phone reaches; connect it to a network")
    name = host_name()
    who = identity(folder / "phone", list(dict.fromkeys([*own, LOOPBACK])), name)
    address = _addresses(settings, page)[0]
    by_name = f"https://{name}.local:{parse_listen(page or settings.page.listen or DEFAULT)[1]}/" if name else None
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
    """Return the settings and the state folder of the alarm whose page it is: the service's with its config."""
    path = config_for(config)
    settings = settings_of(path)
    state = state or settings.state
    if state is None and path == SYSTEM and (SERVICE / JOURNAL).exists():
        state = SERVICE
    return settings, made_state_folder(state)


def _addresses(settings: Settings, given: str | None) -> list[str]:
    """Return the beginnings of the page's URLs, the best for another machine first."""
    from edge.phone.authority import host_name, own_addresses

    where = replace(settings.page, listen=given or settings.page.listen or DEFAULT)
    host, port = parse_listen(where.listen or DEFAULT)
    scheme = "https" if where.tls else "http"
    if host not in ("0.0.0.0", "::"):
        return [f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"]
    own = [str(each.address) for each in own_addresses() if not each.fault]
    name = host_name()
    hosts = [f"[{each}]" if ":" in each else each for each in own] + ([f"{name}.local"] if name else [])
    return [f"{scheme}://{each}:{port}" for each in hosts or ["127.0.0.1"]]
