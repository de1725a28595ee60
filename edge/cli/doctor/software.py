"""Python, the packages and the model, each tried in a child process: a wheel of another processor kills."""

from __future__ import annotations

import os
import platform
import statistics
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edge.cli.doctor.child import Ended, call, run
from edge.cli.doctor.findings import CheckResult, Target, broken, doubt, fine, unknown
from edge.installing import extra, pip
from edge.version import __version__

GROUP = "Packages"
IMPORT_S = 90.0  # a slow SD card, the first time
MIN_PYTHON = (3, 11)
INSTALL = "install bear-alarm again into a new environment"
OPENCVS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


def imported(module: str) -> Ended:
    """Import a module in a child; -P: a numpy.py in the working folder must not be found."""
    return run([sys.executable, "-P", "-c", f"import {module}"], IMPORT_S)


def check_python() -> Iterator[CheckResult]:
    """Check Python's version, whether it has 64 bits by the size of a pointer, and its folder."""
    version, bits = platform.python_version(), struct.calcsize("P") * 8
    if sys.version_info < MIN_PYTHON:
        yield broken("python", f"{version} is too old", f"install Python {MIN_PYTHON[0]}.{MIN_PYTHON[1]} or newer")
    else:
        yield fine("python", f"{version}, {platform.system()} {platform.machine()}")
    if bits == 64:
        yield fine("64 bits", "yes, by the size of a pointer")
    else:
        yield broken(
            "64 bits",
            f"this Python has {bits} bits, and onnxruntime has no wheels for it",
            "put a 64-bit system on the card: Raspberry Pi OS Lite (64-bit)",
        )
    where = "the environment" if sys.prefix != sys.base_prefix else "the system's Python at"
    yield fine("bear-alarm", f"{__version__}, in {where} {sys.prefix}")


def check_first() -> Iterator[CheckResult]:
    """Check what has to work before any of our modules that needs numpy is imported."""
    for finding in check_python():
        yield replace(finding, group="Python")
    for package, module in (("numpy", "numpy"), ("pydantic", "pydantic"), ("pyyaml", "yaml"), ("psutil", "psutil")):
        yield replace(_needed(package, module), group="Python")


def check_packages(target: Target) -> Iterator[CheckResult]:
    """Check that everything else that is needed here can be imported."""
    yield _needed("onnxruntime", "onnxruntime")
    yield from _opencv()
    alerts = target.settings.alerts
    if target.settings.evidence.keep:
        found = _needed("av", "av", pip("install", "av"))
        words = f"{found.words}; evidence has no clips without it"
        yield found if found.state == "fine" else doubt("av", words, found.todo)
    if alerts.relays or alerts.deterrent_lamps:
        yield _needed("gpiozero", "gpiozero", extra("pi"))
        # Not imported: it would leave a pipe in the working folder.
        if "GPIOZERO_PIN_FACTORY" not in os.environ and find_spec("lgpio") is None:
            yield broken("lgpio", "it is not installed, and no pin can be switched without it", extra("pi"))
    if alerts.mqtt:
        yield _needed("paho-mqtt", "paho.mqtt.client", pip("install", "paho-mqtt"))
    if alerts.notify:
        yield _needed("apprise", "apprise", pip("install", "apprise"))


def _needed(package: str, module: str, todo: str = INSTALL) -> CheckResult:
    ended = imported(module)
    if ended.code == 0:
        return fine(package, f"{_version(package, 'it')} can be imported")
    words = f"{package} {_version(package, '(not installed by pip)')}: its import {ended.why}"
    return broken(package, words, _remedy(package, ended, todo))


def _opencv() -> Iterator[CheckResult]:
    found = _needed("opencv-python-headless", "cv2")
    names = {_plain(each.name): str(each.version) for each in metadata.distributions() if each.name}
    here = [name for name in OPENCVS if name in names]
    if found.state == "fine":
        known = ", ".join(f"{name} {names[name]}" for name in here) or found.words.removesuffix(" can be imported")
        yield fine("opencv", f"{known} can be imported")
    else:
        yield broken("opencv", found.words, found.todo)
    if len(here) > 1:
        words = " and ".join(f"{name} {names[name]}" for name in here)
        make = doubt if found.state == "fine" else broken
        yield make(
            "opencv twice",
            f"{words} are both installed and overwrite each other's files",
            f"{pip('uninstall', '-y', *here)}, then {pip('install', 'opencv-python-headless')}",
        )


def _remedy(package: str, ended: Ended, todo: str) -> str:
    if package == "opencv-python-headless" and "libGL" in ended.last:
        return (
            f"{pip('uninstall', '-y', 'opencv-python', 'opencv-contrib-python')}, then "
            f"{pip('install', '--force-reinstall', 'opencv-python-headless')}, which needs no libGL"
        )
    if ended.signal == "SIGILL" and package == "onnxruntime":
        # Version 1.21.0 did so on every Raspberry Pi 4: github.com/microsoft/onnxruntime/issues/23957
        version = _version(package, "")
        other = "onnxruntime==1.20.1" if version.startswith("1.21.0") else f"onnxruntime!={version}"
        return f"take another version: {pip('install', other)}" if version else "take another version of onnxruntime"
    if ended.signal in ("SIGILL", "SIGSEGV", "SIGBUS"):
        line = pip("install", "--force-reinstall", "--no-cache-dir", package)
        return f"{line}; if that is of no use, take another version"
    if ended.signal == "SIGKILL" or ended.code is None:
        return "free some memory, or wait until the machine rests, and try again"
    return todo


def _version(package: str, otherwise: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return otherwise


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


# The model: found, whole, computed rightly on this processor, and how fast.


MODEL_S = 180.0  # a slow card, a slow board
MIN_CROPS = 3  # of a frame, whatever it takes: edge.detect.frame_rate
TIMED_CROPS = 7  # one by one, after one that is not


def tried(target: Target) -> Ended:
    """Try the model that the alarm would take, in a child."""
    asks = target.settings.model, str(target.state)
    return call("edge.cli.doctor.software:try_model", asks, MODEL_S, target.environment)


def check_model(target: Target) -> Iterator[CheckResult]:
    """Check which it is, that this processor computes it rightly, and what one crop takes."""
    if target.settings.model is None and target.state.is_dir() and not os.access(target.state, os.R_OK | os.X_OK):
        words = f"which one the alarm takes is not known, for {target.state} is closed to this user"
        yield unknown("model", words, "sudo bear-alarm doctor")
        return
    ended = tried(target)
    found = ended.answer
    if not isinstance(found, dict):
        todo = "see onnxruntime above; then `bear-alarm model check`"
        yield broken("model", f"loading it {ended.why}", todo)
        return
    if found["problem"]:
        todo = "copy it again, or choose another: bear-alarm model use --bundled"
        if found["instead"]:
            words = f"{found['problem']}; the alarm goes on with {found['instead']}"
            yield doubt("model", words, todo)
        else:
            yield broken("model", found["problem"], todo)
    if "name" not in found:
        return
    yield fine("model", f"{found['name']} in {found['path']}")
    how = f"all {found['golden']} within {found['error']:.4f} (allowed {found['tolerance']:g})"
    if found["fallback"]:
        words = f"this processor computes int8 wrongly, so it runs in float, more slowly; {how}"
        yield doubt("golden vectors", words, "nothing, if the speed below is enough; else take another board")
    else:
        yield fine("golden vectors", f"{how}, in {found['precision']}")
    yield _speed(target, float(found["crop_ms"]))


def _speed(target: Target, crop_ms: float) -> CheckResult:
    """Compare what one crop takes with what a frame may take."""
    from edge.settings import CameraSettings

    slow_ms = target.settings.health.slow_ms
    frame_s = min((each.settings.frame_s for each in target.cameras), default=CameraSettings().frame_s)
    crops = int(frame_s * 1000 / crop_ms)
    words = f"one crop takes {crop_ms:.0f} ms"
    if crop_ms > slow_ms:
        todo = "stop what else runs here, cool the board (see below), or take a faster one"
        return doubt("speed", f"{words}, more than the {slow_ms:g} ms at which the alarm itself complains", todo)
    if crops < MIN_CROPS:
        rate = 1000 / (MIN_CROPS * crop_ms)
        words += f", so {MIN_CROPS} crops make {rate:.1f} frames a second at most while something moves"
        return fine("speed", words)
    return fine("speed", f"{words}: {crops} fit into the {frame_s:g} s that a frame may take")


def try_model(asks: tuple[str | None, str]) -> dict[str, Any]:
    """Load the model that is named, or the one the alarm of a state folder would take, and time it. For the child."""
    from edge.detect.classifier import Classifier, find, load
    from edge.errors import ModelError

    model, state = asks[0], Path(asks[1])
    found: dict[str, Any] = {"problem": None, "instead": None}
    try:
        classifier = Classifier(find(model, state))
    except ModelError as error:
        found["problem"] = str(error)
        try:
            classifier = load(model, state)
        except ModelError:
            return found
        found["instead"] = str(classifier.path)
    card = asdict(classifier.card)
    card["golden"] = len(classifier.card.golden)
    return found | {
        "name": classifier.name,
        "path": str(classifier.path),
        "precision": classifier.card.precision,
        "fallback": classifier.fallback,
        "golden": len(classifier.card.golden),
        "error": float(classifier.golden_error),
        "tolerance": classifier.card.golden_tolerance,
        "crop_ms": _crop_ms(classifier),
        "card": card,
    }


def _crop_ms(classifier: Any) -> float:
    import numpy as np

    crop = np.random.default_rng(0).integers(0, 256, (1, classifier.size, classifier.size, 3), np.uint8)
    classifier(crop)
    took = []
    for _ in range(TIMED_CROPS):
        began = time.perf_counter()
        classifier(crop)
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1000
