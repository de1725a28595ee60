"""Bear Alarm: sees bears, on the device, with no network.

One loop that reads like this sentence: for each frame, find what moved, score it,
decide, and on a decision tell everyone.

    camera -> Frame -> motion -> Region -> classifier -> Score -> decide -> Event -> sinks

This package is the device's: numpy, OpenCV and onnxruntime, never torch or fastai. What people build on is offered
here, and loaded when it is first used (docs/library.md).
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from edge.version import __version__

if TYPE_CHECKING:
    from edge.camera import open_source
    from edge.decide.alarms import Decider
    from edge.detect.classifier import Classifier
    from edge.detect.tracker import Tracker
    from edge.schema import Event
    from edge.watch import Watcher

# onnxruntime's wheels gather and send usage data unless told not to before they are imported. Nothing here may
# reach for a network.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__all__ = ["Classifier", "Decider", "Event", "Tracker", "Watcher", "__version__", "open_source"]

_MODULES = {
    "Classifier": "edge.detect.classifier",
    "Decider": "edge.decide.alarms",
    "Event": "edge.schema",
    "Tracker": "edge.detect.tracker",
    "Watcher": "edge.watch",
    "open_source": "edge.camera",
}


def __getattr__(name: str) -> Any:
    """Load a name of the library when it is first asked for (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
