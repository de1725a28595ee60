"""A stand-in for the built web app, and its server on loopback."""

from __future__ import annotations

import lzma
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from edge.phone.authority import LOOPBACK, Identity, identity
from edge.phone.server import Servers

WASM = b"\0asm" + bytes(50_000)
FILES = {
    "index.html": b'<!DOCTYPE html><html lang="en"><title>Stand-in</title><script type="module" src="app.js"></script>',
    "app.js": b"document.title = `isolated ${crossOriginIsolated}`;\n" + b"// padding\n" * 200,
    "app.css": b"body { color: black }",
    "manifest.webmanifest": b"{}",
    "icons/icon.png": b"\x89PNG" + bytes(5_000),
    "sw.js": b"// one",
}


def stand_in(folder: Path) -> Path:
    """Write a packaged app, as edge/phone/app holds one."""
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "run.wasm.xz").write_bytes(lzma.compress(WASM))
    return folder


@contextmanager
def served(files: Mapping[str, bytes], state: Path) -> Iterator[tuple[Servers, Identity]]:
    """Serve files on loopback, on free ports."""
    who = identity(state, [LOOPBACK], "hive")
    with closing(Servers(LOOPBACK, 0, 0, "hive")) as servers:
        servers.start(files, who)
        yield servers, who
