"""A seeded clip of a forest clearing: a toy bear lies there, a fox, a boar and at last a bear walk through.

    python -m tests.scenery.compose --seed 0 --out clip.mp4

writes the clip and, beside it, clip.json: what is where in every frame. Stamps and demo frames
never enter training: the alarm is tested on what its model has not seen.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import cv2

from edge.errors import OptionError
from edge.files import need_folder
from tests.scenery.scene import Scene, Shot, Truth

__all__ = ["Scene", "Shot", "Truth", "write_clip"]


def write_clip(scene: Scene, out: Path, *, quality: int = 27) -> None:
    """Write ``scene`` to ``out`` (.mp4) and its truth beside it (.json). Raises OptionError for a missing folder.

    H.264 through ffmpeg where that is installed (``quality`` is its constant rate factor), else
    MPEG-4 part 2 through OpenCV, whose wheel decodes H.264 but cannot encode it.
    """
    need_folder(out)
    if shutil.which("ffmpeg") is None or not _with_ffmpeg(scene, out, quality):
        _with_opencv(scene, out)
    out.with_suffix(".json").write_text(truth_json(scene.truth), encoding="utf-8")


def truth_json(truth: Truth) -> str:
    """The truth as JSON, boxes rounded to a hundredth of a percent, one frame a line."""
    found = asdict(truth)
    boxes = [{name: [round(side, 4) for side in box] for name, box in frame.items()} for frame in found.pop("boxes")]
    head = json.dumps(found, indent=1)[:-2]
    lines = ",\n".join("  " + json.dumps(frame, separators=(",", ":")) for frame in boxes)
    return f'{head},\n "boxes": [\n{lines}\n ]\n}}\n'


def _with_ffmpeg(scene: Scene, out: Path, quality: int) -> bool:
    width, height = scene.size_wh
    source = ["-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{width}x{height}", "-r", str(scene.fps), "-i", "-"]
    # One thread and bitexact: the same seed gives the same bytes. yuv420p is what every player takes.
    coding = ["-c:v", "libx264", "-preset", "slow", "-crf", str(quality), "-pix_fmt", "yuv420p", "-threads", "1"]
    flags = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-movflags", "+faststart"]
    command = ["ffmpeg", "-v", "error", "-y", *source, *coding, *flags, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as ffmpeg:
        assert ffmpeg.stdin is not None
        try:
            for shot in scene.frames():
                ffmpeg.stdin.write(shot.image.tobytes())
        except BrokenPipeError:  # it gave up, most likely a build without libx264, and said so
            return False
        ffmpeg.stdin.close()
        return ffmpeg.wait() == 0


def _with_opencv(scene: Scene, out: Path) -> None:
    fourcc = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(out), fourcc, scene.fps, scene.size_wh)
    if not writer.isOpened():
        raise OSError(f"{out}: neither ffmpeg nor OpenCV can write an .mp4 file here; install ffmpeg")
    for shot in scene.frames():
        writer.write(shot.image)
    writer.release()


def main(argv: list[str] | None = None) -> int:
    """Compose one clip from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.scenery.compose", description="Compose a demo clip.")
    parser.add_argument("--seed", type=int, default=0, help="which clip: every seed has its own paths, sizes and light")
    parser.add_argument("--out", type=Path, required=True, help="the .mp4 file to write, with its truth as .json")
    parser.add_argument("--quality", type=int, default=27, help="constant rate factor of H.264, smaller is better")
    asked = parser.parse_args(argv)
    scene = Scene(asked.seed)
    try:
        write_clip(scene, asked.out, quality=asked.quality)
    except OptionError as error:
        parser.error(str(error))
    size = asked.out.stat().st_size / 1e6
    full = scene.truth.bear_fully_in_view_s
    sys.stderr.write(f"{asked.out}: {scene.truth.duration_s:.0f} s, {size:.2f} MB, bear in full view at {full:.2f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
