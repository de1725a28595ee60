"""A real ``watch`` with a commented config and a page, for tests that change its settings."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.page.accounts import Accounts
from tests.helpers.fake_camera import LiveYard, Watching, watching
from tests.helpers.page_world import OWNER, Client
from tests.helpers.tiny import tiny_card, write_tiny_model

CONFIG = """\
# My hives.
cameras:
  yard:   # behind the house
    source: {source}   # ${{NAME}} would stay
    # Only here, since May:
    #zones:
      #hives: 0.1,0.5 0.6,0.5 0.6,1 0.1,1
    motion:
      mask:
        # the flag
        - 0,0 0.1,0 0.1,0.1
# Loud enough.
bell: no   # no bell
events: events.jsonl
model: tiny.onnx
state: state
page: 127.0.0.1:{port}   # this machine
# The end.
"""


@dataclass
class Device:
    """``watch`` with its page; ``config`` is the file that it reads."""

    config: Path
    text: str  # of the config at the beginning
    address: str
    accounts: Accounts
    yard: LiveYard
    watch: Watching

    def client(self) -> Client:
        """Return a client that is logged in as the owner."""
        cookie = self.accounts.log_in(OWNER, "test")
        access = self.accounts.of_session(cookie)
        assert access
        client = Client(self.address, cookie)
        client.csrf = access.csrf
        return client

    def events(self) -> list[dict[str, Any]]:
        """Return the events so far."""
        path = self.config.with_name("events.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def page_device(folder: Path) -> Iterator[Device]:
    """Run ``watch`` in ``folder`` until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    write_tiny_model(folder / "tiny.onnx", tiny_card())
    config = folder / "bear-alarm.yml"
    with LiveYard() as yard:
        config.write_text(CONFIG.format(source=yard.url, port=port))
        with watching(cwd=folder) as watch:
            watch.until("the page is on")
            accounts = Accounts(folder / "state")
            accounts.claim(accounts.new_claim(), OWNER)
            yield Device(config, config.read_text(), f"http://127.0.0.1:{port}", accounts, yard, watch)
