"""Bear Alarm: sees bears, on the device, with no network.

One loop that reads like this sentence: for each frame, find what moved, score it,
decide, and on a decision tell everyone.

    camera -> Frame -> motion -> Region -> classifier -> Score -> decide -> Event -> sinks

This package is the device's: numpy, OpenCV and onnxruntime, never torch or fastai.
"""

__version__ = "0.1.0"
