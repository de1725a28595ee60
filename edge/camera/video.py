"""Streams and video files, through PyAV (FFmpeg).

MJPEG is handed on as it came and decoded small; in full when somebody asks, or where the file turns it. H.264 and
others are decoded in full. Of these only the brightness is looked at, in the decoder's own memory; colours are made
when somebody asks, by the conversion that OpenCV uses. The packets of H.264 go into the frames' ``VideoBuffer``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge.camera import Source, shown
from edge.errors import SourceError
from edge.pictures import LUMA_PX, camera_jpeg
from edge.schema import Frame, LazyImage, Luma, Packet, Picture, VideoBuffer

if TYPE_CHECKING:
    import av

OPEN_S = 10.0  # the limit for opening a stream
READ_S = 8.0  # and for each read: the first waits for a key frame
# Frame threads each hold back one frame, and keep frames of their own; two keep up with a stream of 8 megapixels.
STREAM_THREADS = 2
ONE_THREAD_PX = 1280 * 720  # a picture of so many pixels needs one only
FILE_THREADS = 1  # a board has other work for its cores, and each thread holds frames of its own
# RTSP over UDP smears the picture wherever a packet is lost.
OPTIONS = {"rtsp_transport": "tcp"}

USUAL_FPS = 25.0  # where a file gives none, or nonsense
MAX_FPS = 480.0
ONE_PICTURE = "gives one picture and no stream; use the camera's MJPEG or RTSP address"
MIN_STEP_S = 1e-6  # between the packets of one buffer

# The brightness as 8-bit samples of a plane of its own; others (10 bits, RGB) are converted at once.
WITH_LUMA = frozenset(
    {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "yuv440p", "yuvj440p", "nv12", "nv21"}
)
# Brightness of video range (ITU-R BT.601: 16 to 235) as grey of 0 to 255, to the level what OpenCV makes of it.
_FULL_RANGE = np.clip((np.arange(256) - 16) * 255 // 219, 0, 255).astype(np.uint8)
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, -90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, -180: cv2.ROTATE_180}


class Video:
    """An opened stream or file: its pictures one by one, not yet decoded where they are JPEGs.

    ``file``: packets have the file's clock, else the monotonic one. Raises av.FFmpegError, ValueError for what cannot
    be opened.
    """

    def __init__(self, address: str, *, threads: int, file: bool) -> None:
        import av

        limits = None if file else (OPEN_S, READ_S)
        self.container = av.open(address, options=OPTIONS, timeout=limits)
        try:
            self.stream = self.container.streams.video[0]
            self.stream.thread_type = "AUTO"
            small = self.stream.width * self.stream.height <= ONE_THREAD_PX
            self.stream.thread_count = 1 if small else threads
            name = self.stream.codec_context.name
        except (AttributeError, IndexError):  # no video, or no decoder for it
            self.container.close()
            raise ValueError("no video") from None
        self.fps = float(self.stream.guessed_rate or 0.0)
        self.buffer = VideoBuffer() if name == "h264" else None
        self._file = file
        self._jpegs = name == "mjpeg"
        self._annex_b: av.bitstream.BitStreamFilterContext | None = None
        self._stamp: int | None = None
        self._packet_time = -math.inf

    @property
    def length_s(self) -> float | None:
        """Return the length, where it is known."""
        return self.container.duration / 1e6 if self.container.duration and self.container.duration > 0 else None

    @property
    def is_picture(self) -> bool:
        """Return True if what was opened has a format of single pictures."""
        return self.container.format.name.endswith("_pipe")

    @property
    def count(self) -> int:
        """Return the number of frames; 0: not known."""
        return self.stream.frames or math.floor((self.length_s or 0.0) * self.fps + 0.5)

    def __iter__(self) -> Iterator[av.VideoFrame | bytes]:
        """Yield pictures, or a JPEG's bytes; ``seconds`` is for the newest. Raises av.FFmpegError where reading fails.

        What is damaged is passed over, as far as the decoder says so.
        """
        import av

        for number, packet in enumerate(self.container.demux(self.stream)):
            if self._jpegs and self._file and number == 0:
                self._jpegs = not _is_turned(packet)
            if self._jpegs:
                if packet.size:
                    self._stamp = packet.pts if packet.pts is not None else packet.dts
                    yield bytes(packet)
                continue
            try:
                pictures = packet.decode()
            except av.FFmpegError:
                pictures = []
            self._keep(packet)
            for picture in pictures:
                self._stamp = picture.pts if picture.pts is not None else picture.dts
                yield picture

    @property
    def seconds(self) -> float:
        """Return the time of the newest picture from the file's beginning on; nan where it has none."""
        return self._seconds(self._stamp)

    def frame(
        self, found: av.VideoFrame | bytes, at: float, camera: str, index: int, media_time_s: float | None = None
    ) -> Frame | None:
        """Return the frame of what iterating gave, now handed over; None where it is damaged."""
        picture: Picture | LazyImage
        luma: Luma | None = None
        jpeg, video = None, self.buffer
        if isinstance(found, bytes):
            if (decoded := camera_jpeg(found)) is None:
                return None
            (picture, luma), jpeg = decoded, found
        else:
            turn = _TURNS.get(found.rotation)
            make = partial(_bgr, found, turn)
            if found.format.name in WITH_LUMA:
                luma = _luma(found, turn)
                across = found.rotation in {90, -90}
                picture = LazyImage(make, (found.height, found.width) if across else (found.width, found.height))
            else:
                picture = make()
            if turn is not None:  # what is in the buffer is not turned
                video = None
        return Frame(
            picture, at, datetime.now(UTC), camera, index, monotonic(),
            media_time_s=media_time_s, luma=luma, jpeg=jpeg, video=video,
        )  # fmt: skip

    def close(self) -> None:
        """Let go of it."""
        self.container.close()

    def _seconds(self, stamp: int | None) -> float:
        if stamp is None or not self.stream.time_base:
            return math.nan
        return (stamp - (self.stream.start_time or 0)) * float(self.stream.time_base)

    def _keep(self, packet: av.Packet[av.VideoStream]) -> None:
        """Give a packet to the buffer; the packet is empty after that."""
        if self.buffer is None or not packet.size:
            return
        import av
        from av.bitstream import BitStreamFilterContext

        if self._annex_b is None:
            # Start codes in place of lengths; what a camera says once, in its description, stands before key pictures.
            self._annex_b = BitStreamFilterContext("h264_mp4toannexb,dump_extra=freq=keyframe", self.stream)
        at = self._seconds(packet.dts) if self._file else monotonic()
        if math.isnan(at):
            at = max(self._packet_time + 1.0 / (self.fps or USUAL_FPS), 0.0)
        self._packet_time = at = max(at, self._packet_time + MIN_STEP_S)
        later = self._seconds(packet.pts) - self._seconds(packet.dts)
        shown_at, key = at if math.isnan(later) else at + later, packet.is_keyframe
        try:
            found = self._annex_b.filter(packet)
        except av.FFmpegError:  # damaged: the decoder has passed it over too
            return
        for each in found:
            self.buffer.add(Packet(bytes(each), shown_at, at, key))


def _is_turned(packet: av.Packet[av.VideoStream]) -> bool:
    """Return True if the film says that its pictures are to be turned, as a phone's does."""
    import av

    try:
        return any(picture.rotation for picture in packet.decode())
    except av.FFmpegError:  # damaged
        return False


def _luma(picture: av.VideoFrame, turn: int | None) -> Luma:
    """Return the grey picture that motion looks at, full range, 320 wide: what it makes of the picture in colour."""
    plane = picture.planes[0]
    rows = np.frombuffer(plane, np.uint8)  # type: ignore[call-overload]
    luma: Luma = rows.reshape(-1, plane.line_size)[: picture.height, : picture.width]
    if turn is not None:
        luma = np.asarray(cv2.rotate(luma, turn), np.uint8)
    height, width = luma.shape
    high = max((2 * LUMA_PX * height + width) // (2 * width), 1)
    small = cv2.resize(luma, (LUMA_PX, high), interpolation=cv2.INTER_LINEAR)
    full = picture.color_range == 2 or picture.format.name.startswith("yuvj")
    return np.asarray(small if full else cv2.LUT(small, _FULL_RANGE), np.uint8)


def _bgr(picture: av.VideoFrame, turn: int | None) -> Picture:
    from av.video.reformatter import VideoReformatter

    # A converter of its own, for any thread; one thread, bicubic: as OpenCV's reader has it.
    bgr = VideoReformatter().reformat(picture, format="bgr24", interpolation="BICUBIC", threads=1).to_ndarray()
    return np.asarray(bgr if turn is None else cv2.rotate(bgr, turn), np.uint8)


class StreamSource(Source):
    """A network stream, opened and read in the caller's thread, thinned to ``fps`` frames a second.

    ``Frame.time`` is the monotonic clock when the frame had been read. A stream that has an end (a file behind http)
    just ends. Raises SourceError for what cannot be opened, for an address of one picture, and where a stream without
    an end stops: it breaks off, is silent for ``READ_S``, or ends before its first frame.
    """

    live = True

    def __init__(self, word: str, *, name: str, fps: float) -> None:
        import av

        self.word = word
        self.name = name
        self.fps = fps
        self.problems: list[str] = []
        self._reading = self._closed = False
        try:
            self._video = Video(word, threads=STREAM_THREADS, file=False)
        except (av.FFmpegError, ValueError):
            raise SourceError(
                f"{shown(word)}: the stream cannot be opened; check the address, user and password, and that the "
                "camera is on"
            ) from None
        if self._video.count == 1:
            self._video.close()
            raise SourceError(f"{shown(word)}: {ONE_PICTURE}")

    def __iter__(self) -> Iterator[Frame]:
        """Read every frame, so that none waits, and look at those that are due."""
        import av

        self._reading = True
        read, index, last = 0, 0, float("-inf")
        ends = self._video.count > 0
        try:
            for found in self._video:
                if self._closed:
                    return
                read += 1
                now, gap_s = monotonic(), 1.0 / self.fps
                # Without a little slack a 30 fps camera thinned to 10 would give every fourth frame.
                if now < last + gap_s - 0.01:
                    continue
                if (frame := self._video.frame(found, now, self.name, index)) is None:
                    continue
                # When it was due, so that the rate holds on average; not so long ago that a burst would follow.
                last = max(last + gap_s, now - gap_s / 2)
                yield frame
                index += 1
                del found, frame
            why = "the camera ended the stream; check that it is on, and the network"
            if read == 1 and self._video.is_picture:
                why = ONE_PICTURE
            if index == 0:
                why = "ended before its first frame; check the address, and that it is a video"
        except av.FFmpegError as error:
            silent = isinstance(error, av.ExitError)
            broke = f"nothing came for {READ_S:g} s" if silent else f"the stream broke off ({error.strerror})"
            ends, why = False, f"{broke}; check that the camera is on, and the network"
        finally:
            self._video.close()
        if not self._closed and (index == 0 or not ends):
            raise SourceError(f"{shown(self.word)}: {why}")

    def close(self) -> None:
        """End an iteration under way, once its read has come back; that closes the stream."""
        self._closed = True
        if not self._reading:
            self._video.close()


class VideoSource(Source):
    """A video file, thinned to ``fps``. What is not wanted is decoded no further than what follows needs.

    ``Frame.time`` is the media time, which always goes forward also where the file's time stamps do not.
    """

    def __init__(self, path: Path, *, name: str, fps: float) -> None:
        import av

        self.path = path
        self.name = name
        self.fps = fps
        self.problems: list[str] = []
        try:
            size = path.stat().st_size
        except OSError as error:
            raise SourceError(f"{path}: cannot read the video ({error.strerror})") from None
        if size == 0:
            raise SourceError(f"{path}: the video file is empty (0 bytes); copy it again")
        self._closed = False
        self._reading = False
        try:
            self._video = Video(f"file:{path}", threads=FILE_THREADS, file=True)  # a name may look like an address
        except (av.FFmpegError, ValueError):
            raise SourceError(
                f"{path}: cannot be read as a video; it is truncated, damaged or no video at all"
            ) from None
        known = 0.1 <= self._video.fps <= MAX_FPS
        self.file_fps = self._video.fps if known else USUAL_FPS
        self._count = self._video.count if 0 < self._video.count < 1e9 else None
        self.length_s = self._count / self.file_fps if self._count else None

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames. Raises SourceError when there is not one."""
        import av

        self._reading = True
        index, read, at, last = 0, 0, -math.inf, -1.0 / self.fps
        try:
            for found in self._video:
                if self._closed:
                    return
                at = self._stamp(read, at)
                read += 1
                # A hair early is on time: the stamps of a 10 fps file are not exact multiples of 0.1.
                gap_s = 1.0 / self.fps
                if at < last + gap_s - 0.25 / self.file_fps:
                    continue
                if (frame := self._video.frame(found, at, self.name, index, at)) is None:
                    continue
                last = max(last + gap_s, at - gap_s)  # when it was due, so that the rate holds on average
                yield frame
                index += 1
                del found, frame
        except av.FFmpegError:  # what could be read is judged
            pass
        finally:
            self._video.close()
        if not self._closed:
            self._judge(read, index)

    def _stamp(self, read: int, last: float) -> float:
        """Seconds into the file of the frame just read; by counting where its stamp is missing or goes back."""
        stamp = self._video.seconds
        if read == 0:
            return stamp if 0.0 <= stamp < 1e6 else 0.0
        step = stamp - last
        # A hole of more than a minute is a broken stamp, not a pause.
        return stamp if 1e-4 < step < 60.0 else last + 1.0 / self.file_fps

    def _judge(self, read: int, given: int) -> None:
        if given == 0:
            raise SourceError(f"{self.path}: no frame could be read from this video; it is truncated or damaged")
        # Containers that only estimate their length are off by a few frames.
        if self._count and read < 0.97 * self._count - 2:
            self.problems.append(
                f"{self.path}: ends early, {read} of {self._count} frames could be read; "
                "the file is truncated or damaged"
            )

    def close(self) -> None:
        """Close the file; an iteration under way ends with its current frame, and lets go of it there."""
        self._closed = True
        if not self._reading:
            self._video.close()
