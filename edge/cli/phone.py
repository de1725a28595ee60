"""``bear-alarm phone``: the alarm as a web app for phones, as a folder for any web host, or served from here."""

from __future__ import annotations

import io
import ipaddress
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli.options import ModelOpt
from edge.errors import OptionError

if TYPE_CHECKING:
    from edge.phone.authority import Address


def phone(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Folder to write, new or empty. With --serve: default, a temporary one."),
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
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port of the app, over HTTPS.")] = 8443,
    http_port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of the page that hands out the certificate, over HTTP.")
    ] = 8080,
) -> None:
    """Write the alarm as a web app for phones, or serve it.

    Put the folder on any web host with HTTPS, once. Then a phone installs the app from there, and watches with no
    network. Or give --serve: this machine serves the app to phones in the same network.
    """
    from edge.detect.classifier import find
    from edge.phone.folder import holds_app, write

    if not serve:
        if folder is None:
            raise OptionError("name a folder to write, or serve the app with --serve")
        if host is not None:
            raise OptionError("--host belongs to --serve; give --serve too")
        folder = _expanded(folder)
        write(folder, find(model), update=update)
        print(_next(folder))
        return
    address = _address(host)
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="bear-alarm-phone-") as made:
            write(Path(made), find(model))
            _serve(Path(made), address, port, http_port)
        return
    folder = _expanded(folder)
    if update or not holds_app(folder):
        write(folder, find(model), update=update)
    elif model is not None:
        raise OptionError(f"{folder}: holds the app with its model already; give --update to change the model")
    _serve(folder, address, port, http_port)


def _expanded(folder: Path) -> Path:
    return folder.expanduser().absolute()


def _next(folder: Path) -> str:
    """Return what to do with the folder that was written."""
    megabytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    return f"""\
{folder}: written, {megabytes:.1f} MB. What to do next:
  1. Copy the folder to any web host with HTTPS. A plain static host will do.
  2. Open its address on the phone, while there is signal. Add it to the home screen, and open it there.
  3. Do its start check. Once the detector is ready "also without signal", the phone needs no network.
Without a web host: bear-alarm phone --serve. More: docs/phone.md"""


def _address(host: str | None) -> Address:
    """Return the address to serve on: the one that is given, else this machine's in its network."""
    from edge.phone.authority import is_private, own_addresses

    if host is None:
        usable = [each for each in own_addresses() if not each.is_loopback]
        if not usable:
            raise OptionError(
                "this machine has no address in a private network; connect it to one, such as a phone's hotspot"
            )
        return usable[0]
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        raise OptionError(f"--host {host!r}: is no address of a network; give one such as 192.168.1.20") from None
    if address not in own_addresses():
        own = ", ".join(map(str, own_addresses()))
        reason = "is not an address of this machine" if is_private(address) else "is not in a private network"
        raise OptionError(f"--host {address}: {reason}; it has {own}")
    return address


def _serve(folder: Path, address: Address, port: int, http_port: int) -> None:
    """Serve the folder until Ctrl-C."""
    from edge.files import state_folder
    from edge.phone.authority import host_name, identity, own_addresses
    from edge.phone.server import serve

    who = identity(state_folder() / "phone", own_addresses(), host_name())
    servers = serve(folder, who, address, port, http_port)
    try:
        print(_shown(servers.page_url, servers.app_url, who.fingerprint), flush=True)
        while True:
            time.sleep(0.5)  # a signal that comes just before an endless wait would not end it
    finally:  # KeyboardInterrupt
        servers.close()


def _shown(page_url: str, app_url: str, fingerprint: str) -> str:
    """Return what the terminal shows while the app is served."""
    half = len(fingerprint) // 2
    return f"""\
{_code(page_url)}
1. With the phone in the same network, open   {page_url}
   It gives the phone a certificate to install, with the steps.
2. Compare the certificate's SHA-256 fingerprint, as the phone shows it:
       {fingerprint[:half].strip()}
       {fingerprint[half:].strip()}
3. Open the alarm: {app_url}
   Do its start check. Once the detector is ready "also without signal", end this with Ctrl-C."""


def _code(url: str) -> str:
    """Return an address as a QR code; empty where the terminal has no letters for it."""
    import segno

    drawn = io.StringIO()
    segno.make(url, micro=False).terminal(drawn, compact=True)
    text = drawn.getvalue()
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return ""
    if not sys.stdout.isatty():
        return text
    return "".join(f"\033[97;40m{line}\033[0m\n" for line in text.splitlines())  # white on black on any terminal
