"""Bear Alarm: sees bears, on the device, with no network.

One loop that reads like this sentence: for each frame, find what moved, score it,
decide, and on a decision tell everyone.

    camera -> Frame -> motion -> Region -> classifier -> Score -> decide -> Event -> sinks

This package is the device's: numpy, OpenCV and onnxruntime, never torch or fastai.
"""

import os

# onnxruntime's wheels gather and send usage data unless told not to before they are imported. Nothing here may
# reach for a network.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
