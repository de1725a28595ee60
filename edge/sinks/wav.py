"""WAV files: read whatever their samples are, and made to last as long as they should sound."""

from __future__ import annotations

import io
import struct
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from edge.errors import OptionError, UnavailableError

Samples = NDArray[np.float64]  # (n,) -1 to 1, mono

RATE = 44_100  # samples a second, which every card takes
PLAYABLE = {1, 3, 6, 7, 0xFFFE}  # PCM, float, A-law, µ-law, extensible; further ones not every player reads
LARGEST = 32_000_000  # bytes of one sound in memory
CONVERT = "convert it, for example with `ffmpeg -i IN -c:a pcm_s16le OUT.wav`"


@dataclass(frozen=True, slots=True, repr=False)
class Wav:
    """A WAV file's format, as it stands in it, and its samples as bytes."""

    format: bytes  # the "fmt " chunk
    data: bytes
    rate: int  # blocks a second
    block: int  # bytes of one sample of all channels

    @property
    def seconds(self) -> float:
        """How long it sounds once."""
        return len(self.data) / self.block / self.rate

    def lasting(self, seconds: float) -> bytes:
        """A whole WAV file of that length: cut, or again and again."""
        size = max(round(seconds * self.rate), 1) * self.block
        data = (self.data * (size // len(self.data) + 1))[:size]
        padded = data + b"\0" * (size % 2)
        head = b"WAVEfmt " + struct.pack("<I", len(self.format)) + self.format + b"data" + struct.pack("<I", size)
        return b"RIFF" + struct.pack("<I", len(head) + len(padded)) + head + padded


def read_wav(path: Path, most_s: float) -> Wav:
    """The file's first ``most_s`` seconds. Raises OptionError with a sentence for what cannot be played.

    UnavailableError for a file that is not there: its disk may not be mounted yet.
    """
    try:
        with path.open("rb") as file:
            return _read(file, path, most_s)
    except (FileNotFoundError, NotADirectoryError):
        raise UnavailableError(f"{path} is not there; mount its disk, or correct the path") from None
    except OSError as error:
        raise OptionError(f"{path}: the sound cannot be read ({error.strerror}); name a WAV file") from None


def is_path(word: str) -> bool:
    """Return True for a path, also of a missing file, and False for the name of a sound."""
    return "/" in word or "\\" in word or word.lower().endswith(".wav")


def wav_of(samples: Samples, rate: int = RATE) -> Wav:
    """Samples as 16-bit mono."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.round(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes())
    file.seek(0)
    return _read(file, Path("a generated sound"), len(samples) / rate)


def _read(file: BinaryIO, path: Path, most_s: float) -> Wav:
    riff = file.read(12)
    if riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        raise OptionError(f"{path} is no WAV file; {CONVERT}")
    format_ = b""
    while len(head := file.read(8)) == 8:
        name, size = head[:4], struct.unpack("<I", head[4:])[0]
        if name == b"fmt " and 16 <= size <= 1024:
            format_ = file.read(size)
            file.seek(size % 2, io.SEEK_CUR)
        elif name == b"data" and len(format_) >= 16:
            tag, _, rate, _, block, _ = struct.unpack("<HHIIHH", format_[:16])
            if tag not in PLAYABLE or not rate or not block:
                raise OptionError(f"{path}: its sound is of a kind not every player knows (format {tag}); {CONVERT}")
            # A WAV written to a pipe says 0 or 4 GB: what is there counts.
            data = file.read(min(size or LARGEST, LARGEST, round(most_s * rate) * block))
            data = data[: len(data) // block * block]
            if not data:
                raise OptionError(f"{path} holds no sound; name another WAV file")
            return Wav(format_, data, rate, block)
        else:
            file.seek(size + size % 2, io.SEEK_CUR)
    raise OptionError(f"{path}: this WAV file breaks off before its sound; copy it anew, or name another")
