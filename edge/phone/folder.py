"""The folder of the web app: the built app out of this package, a model, and a list of what was written."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from edge.detect.classifier import Classifier
from edge.errors import OptionError, UnavailableError
from edge.files import need_folder

APP = Path(__file__).with_name("app")  # made by tests/helpers/make_phone_app.py
PACKED = ".xz"  # files that are kept small in the package
ENTRY = "index.html"
MODEL = "model.json"  # which model belongs to the app, for the app
WRITTEN = "written.json"  # which files a folder has of us: --update replaces these and no others
LAST = ("sw.js", MODEL, WRITTEN)  # put in place last, in this order: they name the others
STAGING = ".bear-alarm.part"  # new files of a folder that is there already, until all are whole


def app_files() -> dict[str, bytes]:
    """Return the files of the web app, unpacked, by name. Raises UnavailableError where it is missing."""
    if not (APP / ENTRY).is_file():
        raise UnavailableError("this installation has no web app in it; install it again, or run `make phone-app`")
    return dict(unpacked(APP))


def unpacked(app: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and bytes of each file below a folder, unpacked."""
    for path in sorted(app.rglob("*")):
        if path.is_file():
            name, data = path.relative_to(app).as_posix(), path.read_bytes()
            yield (name.removesuffix(PACKED), lzma.decompress(data)) if name.endswith(PACKED) else (name, data)


def model_files(model: Path) -> dict[str, bytes]:
    """Return the model's file and its description, by name. Raises ModelError for one that a phone cannot use."""
    # It recomputes the golden vectors: a damaged file is refused here, not in the forest.
    classifier = Classifier(model, need_frame_scan=True)
    data = model.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    file = f"model-{sha256[:12]}.onnx"
    known = {"name": classifier.name, "file": file, "sha256": sha256, "bytes": len(data)}
    return {file: data, MODEL: _json(known)}


def holds_app(folder: Path) -> bool:
    """Return whether ``bear-alarm phone`` wrote this folder."""
    return (folder / WRITTEN).is_file()


def read(folder: Path) -> dict[str, bytes]:
    """Return the files that ``write`` put into a folder. Raises OptionError."""
    try:
        return {name: (folder / name).read_bytes() for name in _listed(folder)}
    except OSError as error:
        raise OptionError(
            f"{error.filename}: cannot be read ({error.strerror}); write it again with --update"
        ) from None


def write(folder: Path, model: Path, *, update: bool = False) -> None:
    """Write the web app and a model into a folder that is missing or empty: whole or not at all.

    With ``update``, also into one that it wrote before: its own files are replaced, those of an older version removed,
    all others left as they are. Raises OptionError, ModelError or UnavailableError.
    """
    old = _replaceable(folder, update=update)
    files = app_files() | model_files(model)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    files[WRITTEN] = _json(sums)
    # A missing folder is made beside its place, and is there in one step. One that is there may be another disk.
    staging = folder / STAGING if folder.is_dir() else folder.with_name(f".{folder.name}{STAGING}")
    try:
        shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
        _write_all(staging, files)
        if folder.is_dir():
            _replace(folder, staging, files, old)
        else:
            staging.rename(folder)
    except OSError as error:
        raise OptionError(f"{folder}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _replaceable(folder: Path, *, update: bool) -> list[str]:
    """Return the names of our files in a folder, if it may be written. Raises OptionError if not."""
    need_folder(folder)
    if not folder.exists() and not folder.is_symlink():
        return []
    if not folder.is_dir():
        raise OptionError(f"{folder}: is no folder; name one that is empty, or a new one")
    try:
        empty = all(each.name == STAGING for each in folder.iterdir())
    except OSError as error:
        raise OptionError(f"{folder}: cannot be read ({error.strerror})") from None
    if empty:
        return []
    if not holds_app(folder):
        raise OptionError(f"{folder}: is not empty, and `bear-alarm phone` did not write it; name a new folder")
    if not update:
        raise OptionError(f"{folder}: holds the app already; bring it up to date with --update")
    return _listed(folder)


def _listed(folder: Path) -> list[str]:
    """Return the names in a folder's list of what was written. Raises OptionError."""
    try:
        names = json.loads((folder / WRITTEN).read_bytes())
    except OSError as error:
        raise OptionError(f"{folder / WRITTEN}: cannot be read ({error.strerror})") from None
    except ValueError:
        names = None
    if not isinstance(names, dict) or ENTRY not in names or not all(map(_inside, names)):
        raise OptionError(f"{folder / WRITTEN}: is damaged; name a new folder")
    return list(names)


def _inside(name: str) -> bool:
    """Return whether a name of the list is that of a file in the folder."""
    path = PurePosixPath(name)
    return (
        bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name and ":" not in name
    )


def _write_all(staging: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = staging / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _replace(folder: Path, staging: Path, files: dict[str, bytes], old: list[str]) -> None:
    """Put what is written in place, then remove our files that are no longer needed."""
    for name in sorted(files, key=lambda each: LAST.index(each) if each in LAST else -1):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(folder / name)
    for name in set(old) - files.keys():
        (folder / name).unlink(missing_ok=True)


def _json(document: object) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
