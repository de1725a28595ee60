"""Write the networks that people would use instead as ONNX files, in an environment of its own (`make benchmarks`).

    python benchmarks/export_peers.py FOLDER

The weights are random: nothing is downloaded, and the time of a network does not depend on them.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

PEERS = (("yolo11n", 640), ("yolo11n", 320), ("yolo26n", 640), ("yolo26n", 320), ("yolov9c", 640))


def main() -> None:
    """Export each network and size to ``FOLDER/NAME-SIZE.onnx``; those that are there are kept."""
    folder = Path(sys.argv[1]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"YOLO_AUTOINSTALL": "false", "YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(folder)}
    os.chdir(folder)
    from ultralytics import YOLO

    for name, size in PEERS:
        wanted = folder / f"{name}-{size}.onnx"
        if not wanted.exists():
            written = YOLO(f"{name}.yaml").export(format="onnx", imgsz=size, simplify=True, verbose=False)
            shutil.move(written, wanted)


if __name__ == "__main__":
    main()
