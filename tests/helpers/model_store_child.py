"""A device whose model changes in each of the ways there are; after each the list is printed.

python tests/helpers/model_store_child.py STATE MODEL MODEL MODEL
"""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from edge.cli import model as command
from edge.detect.classifier import file_digest
from edge.model_store import PART, Entry, Installed, ModelStore

shutil._USE_CP_SENDFILE = False  # type: ignore[attr-defined]  # strace shows the bytes of a write


def signature_of(sha256: str) -> str:
    """Return what stands for the signature of a model."""
    return f"signature of {sha256}\n" * 20


def words(installed: Installed) -> str:
    """Return the digests of the list: in use, before it, tried."""
    three = installed.current, installed.previous, installed.waiting
    return " ".join(each.sha256 if each else "-" for each in three)


def main() -> None:
    state, *models = map(Path, sys.argv[1:])
    store = ModelStore.of(state)

    def said() -> None:
        os.write(1, f"{words(store.read())}\n".encode())

    def wait(model: Path, serial: int) -> None:
        entry = Entry(file_digest(model), model.stem, serial=serial, key="A" * 16)
        with store.updating():
            part = store.folder / f"{model.stem}{PART}"
            shutil.copyfile(model, part)
            store.put(part, entry, signature_of(entry.sha256), lambda each: replace(each, waiting=entry, serial=serial))
        said()

    command.use(str(models[0]), state=state)
    said()
    wait(models[1], 1)
    store.change(lambda each: each.switched(tested=True))
    said()
    wait(models[2], 2)
    store.change(lambda each: each.switched(tested=False))
    said()
    store.change(Installed.rolled_back)
    said()
    command.use(str(models[0]), state=state)
    said()
    wait(models[2], 3)
    store.change(Installed.rolled_back)
    said()
    store.change(lambda each: each.used(None))
    said()


if __name__ == "__main__":
    main()
