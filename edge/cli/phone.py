"""``bear-alarm phone``: the alarm as a web app for phones, as a folder for any web host, or served from here."""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.options import ModelOpt
from edge.cli.output import qr_code
from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.phone.authority import Address
    from edge.phone.server import Servers

log = logging.getLogger(__name__)
PORT, HTTP_PORT = 8443, 8080


def phone(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]",
            help="Folder to write, new or empty. Not needed with --serve, which writes it if you name it.",
        ),
    ] = None,
    model: ModelOpt = None,
    update: Annotated[
        bool, typer.Option("--update", help="Replace the app and the model in a folder that this command wrote.")
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the app to phones in the local network, until Ctrl-C.")
    ] = False,
    host: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="This machine's address to serve on (default: that of its network)."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help=f"Port of the app, over HTTPS (default: {PORT}).")
    ] = None,
    http_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            help=f"Port of the page that hands out the certificate, over HTTP (default: {HTTP_PORT}).",
        ),
    ] = None,
) -> None:
    """Write the alarm as a web app for phones, or serve it.

    Put the folder on any web host with HTTPS, once. Then a phone installs the app from there, and watches with no
    network. Or give --serve: this machine serves the app to phones in the same network, from DIR if you name it.
    """
    if folder is not None:
        folder = folder.expanduser().absolute()
    elif update:
        raise OptionError("--update needs the folder that this command wrote; name it")
    if serve:
        ports = PORT if port is None else port, HTTP_PORT if http_port is None else http_port
        _serve(folder, model, update, _address(host), *ports)
        return
    for option, value in (("--host", host), ("--port", port), ("--http-port", http_port)):
        if value is not None:
            raise OptionError(f"{option} belongs to --serve; give --serve too")
    if folder is None:
        raise OptionError("name a folder to write, or serve the app with --serve")
    from edge.detect.classifier import find
    from edge.phone.folder import holds_app, write

    newer = holds_app(folder)
    write(folder, find(model), update=update)
    print(_updated(folder) if newer else _written(folder))


def _written(folder: Path) -> str:
    """Return what to do with a folder that was written."""
    return f"""\
{folder}: written, {_megabytes(folder)}. What to do next:
  1. Copy the folder to any web host with HTTPS. A plain static host will do.
  2. Open its address on the phone, while there is signal. Add it to the home screen.
  3. Still where there is signal: open it from the home screen and wait for "Ready, also without signal".
     From then on the phone needs no network.
Without a web host: bear-alarm phone --serve. More: docs/phone.md"""


def _updated(folder: Path) -> str:
    """Return what to do with a folder that was brought up to date."""
    return f"""\
{folder}: brought up to date, {_megabytes(folder)}. Copy the folder again.
Phones offer "Restart now" the next time they have signal."""


def _megabytes(folder: Path) -> str:
    """Return how large a folder is, in words."""
    return f"{sum(path.stat().st_size for path in folder.rglob('*') if path.is_file()) / 1e6:.1f} MB"


def _address(host: str | None) -> Address:
    """Return the address to serve on: the one that is given, else this machine's in its network."""
    from edge.phone.authority import LOOPBACK, is_private, own_addresses

    own = own_addresses()
    if host is None:
        if own and not own[0].fault:
            return own[0].address
        faults = "; ".join(f"{each.address} {each.fault}" for each in own) or "it has none at all"
        raise OptionError(
            f"this machine has no address that a phone reaches: {faults}; "
            "connect it to a network, such as a phone's hotspot"
        )
    if host == "localhost":
        return LOOPBACK
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        raise OptionError(f"--host {host!r}: is no address of a network; give one such as 192.168.1.20") from None
    servable = [each.address for each in own if each.can_be_served]
    if address not in servable:
        mine = next((each for each in own if each.address == address), None)
        foreign = "is not an address of this machine" if is_private(address) else "is not in a private network"
        reason = mine.fault if mine else foreign
        others = ", ".join(str(each) for each in servable if not each.is_loopback)
        raise OptionError(f"--host {address}: {reason}; {f'name one of {others}' if others else 'leave --host out'}")
    return address


def _serve(folder: Path | None, model: str | None, update: bool, address: Address, port: int, http_port: int) -> None:
    """Serve the app until Ctrl-C, from memory. Both ports are taken before anything is written."""
    from edge.files import state_folder
    from edge.phone.authority import LOOPBACK, host_name, identity, own_addresses
    from edge.phone.server import Servers

    name = host_name()
    with closing(Servers(address, port, http_port, name)) as servers:
        files = _files(folder, model, update)
        who = identity(state_folder() / "phone", list(dict.fromkeys([address, LOOPBACK])), name)
        servers.start(files, who)
        others = [each.address for each in own_addresses() if not each.fault and each.address != address]
        show = _shown_here if address.is_loopback else _shown
        print(show(servers, who.fingerprint_lines, others), flush=True)
        while True:  # until KeyboardInterrupt
            time.sleep(0.5)  # a signal that comes just before an endless wait would not end it


def _files(folder: Path | None, model: str | None, update: bool) -> dict[str, bytes]:
    """Return the files to serve: those of a folder, which is written where it has to be, or without one new ones."""
    from edge.detect.classifier import find
    from edge.phone.folder import app_files, holds_app, model_files, read, write

    if folder is None:
        return app_files() | model_files(find(model))
    if update or not holds_app(folder):
        write(folder, find(model), update=update)
        print(f"{folder}: written, {_megabytes(folder)}.\n")
    elif model is not None:
        raise OptionError(f"{folder}: holds the app with its model already; give --update to change the model")
    files = read(folder)
    if any(files.get(name) != data for name, data in app_files().items()):
        log.warning("%s: its app is not the one of this version; bring it up to date with --update", folder)
    return files


def _shown(servers: Servers, fingerprint: Sequence[str], others: Sequence[Address]) -> str:
    """Return what the terminal shows while the app is served; ``others``: addresses for phones beside this one."""
    unreached = f"   If the phone cannot reach it: --host {_either(others)}\n" if others else ""
    by_name = ""
    if servers.name_url:
        by_name = f"""\
   or {servers.name_url}, which stays when the address changes
   (works on most phones; if not, use the address above)
"""
    return f"""\
{qr_code(servers.page_url)}
1. With the phone in the same network, open   {servers.page_url}
   It gives the phone a certificate to install, with the steps.
{unreached}\
{_to_compare(fingerprint)}
3. Open the alarm: {servers.app_url}
{by_name}\
   Add it to the home screen, open it from there and wait for "Ready, also without signal".
   Then end this with Ctrl-C."""


def _shown_here(servers: Servers, fingerprint: Sequence[str], others: Sequence[Address]) -> str:
    """Return what the terminal shows while the app is served to this machine alone."""
    phones = f"--host {_either(others)}" if others else "leave --host out"
    return f"""\
Only this computer can open it. For phones: {phones}
1. Open   {servers.page_url}
   It gives the browser a certificate to install, with the steps.
{_to_compare(fingerprint)}
3. Open the alarm: {servers.app_url}
   End this with Ctrl-C."""


def _to_compare(fingerprint: Sequence[str]) -> str:
    """Return the step that compares the fingerprint."""
    lines = "".join(f"\n       {line}" for line in fingerprint)
    return f"2. Compare the certificate's SHA-256 fingerprint, as the phone shows it, with this one:{lines}"


def _either(addresses: Sequence[Address]) -> str:
    return " or ".join(map(str, addresses))
