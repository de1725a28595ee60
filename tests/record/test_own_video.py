"""A camera's own H.264: kept for a few seconds as it came, and copied into the clip."""

import json
from dataclasses import replace
from itertools import islice, pairwise

import av
import cv2
import numpy as np
import pytest

from edge.pictures import decode_picture
from edge.record import recorder
from edge.record.clip import LATE_S, OWN, ClipBuffer, ClipMaker, encode, jpeg
from edge.record.recorder import CLIP_BYTES, MARGIN_S, PRE_S, CameraRecorder, compressed
from edge.schema import OVERHEAD_BYTES, LazyImage, Packet, VideoBuffer
from tests.alarm.test_watch import scene
from tests.helpers.h264 import buffered, filmed
from tests.record.test_evidence_camera import bear, camera, event, files, frame, look, tell
from tests.record.test_evidence_clip import UPPER_LEFT, frames, probe

FPS = 10.0


def pictures(count, size_wh=(320, 180)):
    """Pictures on which a red square goes to the right."""
    for number in range(count):
        picture = scene(*size_wh)
        x = 3 * number % (size_wh[0] - 30)
        cv2.rectangle(picture, (x, 100), (x + 29, 129), (40, 40, 230), -1)
        yield picture


def own(count, **more):
    return filmed(pictures(count), fps=FPS, **{"group": 10, **more})


def decoded(packets):
    """The pictures of packets, in the order of showing."""
    decoder = av.CodecContext.create("h264", "r")
    found = [each for packet in packets for each in decoder.decode(av.Packet(packet.data))]
    return [each.to_ndarray(format="bgr24") for each in (*found, *decoder.decode(None))]


def sizes(path):
    """Bytes of each picture in a clip, in the order of decoding."""
    with av.open(str(path)) as clip:
        return [packet.size for packet in clip.demux(video=0) if packet.size]


def shown(path):
    """When each picture of a clip is shown, seconds."""
    with av.open(str(path)) as clip:
        return [picture.time for picture in clip.decode(video=0)]


# The clip program.


@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_clip_is_the_cameras_own_pictures_unchanged_each_at_its_time(tmp_path, b_frames):
    packets = own(40, b_frames=b_frames, start=1000.0)
    assert any(packet.time - packet.decode_time > 0.1 for packet in packets) == (b_frames > 0)
    path = tmp_path / "clip.mp4"
    assert ClipMaker()(packets, path)
    assert len(sizes(path)) == 40
    with av.open(str(path)) as clip:
        copied = [picture.to_ndarray(format="bgr24") for picture in clip.decode(video=0)]
    assert all(map(np.array_equal, copied, decoded(packets)))
    assert shown(path) == pytest.approx(np.arange(40) / FPS, abs=0.002)
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_packets_that_come_at_once_are_all_in_the_clip(tmp_path):
    packets = [replace(p, time=5.0 + n // 10, decode_time=5.0 + n // 10 + n * 1e-6) for n, p in enumerate(own(40))]
    assert encode(packets, tmp_path / "clip.mp4") == 40
    assert len(frames(tmp_path / "clip.mp4")) == 40


def test_what_comes_before_the_first_key_picture_is_no_part_of_a_clip(tmp_path):
    packets = own(30)[4:]
    assert encode(packets, tmp_path / "clip.mp4") == 20
    assert encode([*packets[:6], packet_of_jpeg(0.9), *packets[6:]], tmp_path / "mixed.mp4") > 5


def packet_of_jpeg(time):
    return Packet(jpeg(scene(320, 180), 80), time, time, key=True)


def test_masked_video_is_encoded_five_pictures_a_second(tmp_path):
    packets = filmed(pictures(75), fps=25.0, b_frames=2)
    assert ClipMaker()(packets, tmp_path / "clip.mp4", [UPPER_LEFT])
    masked = frames(tmp_path / "clip.mp4")
    assert len(masked) == 15
    for picture in masked:
        assert picture[:88, :158].max() < 12
        assert picture[92:, 162:].mean() > 40


@pytest.mark.needs_tool("ffprobe")
@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv444p"])
def test_video_that_browsers_may_not_play_is_encoded(tmp_path, pix_fmt):
    encode(own(20, pix_fmt=pix_fmt), tmp_path / "clip.mp4")
    (stream,) = probe(tmp_path / "clip.mp4", "stream=codec_name,pix_fmt")["streams"]
    assert stream == {"codec_name": "h264", "pix_fmt": "yuv420p"}
    assert np.median(cv2.absdiff(frames(tmp_path / "clip.mp4")[5], decoded(own(20))[10])) < 4


def test_a_camera_that_comes_back_with_another_size_is_one_clip(tmp_path):
    larger = filmed(pictures(20, (640, 360)), fps=FPS, start=4.0)
    encode([*own(20), *larger], tmp_path / "clip.mp4")
    assert {picture.shape for picture in frames(tmp_path / "clip.mp4")} == {(180, 320, 3)}
    assert shown(tmp_path / "clip.mp4")[-1] > 5.5


def test_damaged_video_does_no_harm(tmp_path):
    packets = own(40)
    packets[13] = replace(packets[13], data=packets[13].data[:20])
    packets[31] = replace(packets[31], data=b"\0\0\0\1\x65nothing")
    assert encode(packets, tmp_path / "copied.mp4") == 40
    encode(packets, tmp_path / "masked.mp4", [UPPER_LEFT])
    assert len(frames(tmp_path / "masked.mp4")) >= 10


# In memory.


def test_a_connection_keeps_its_first_pictures_before_anybody_records():
    packets, buffer = own(20), VideoBuffer()
    for packet in packets:
        buffer.add(packet)
    assert buffer.since(0.0) == tuple(packets)


def test_a_buffer_keeps_the_seconds_asked_for_from_a_key_picture_on():
    packets, buffer = own(200), buffered([], seconds=5.0)
    for packet in packets:
        buffer.add(packet)
        held = buffer.since(packet.decode_time - 5.0)
        assert held[0].key
        assert held[0].decode_time <= max(packet.decode_time - 5.0, 0.0)
        assert packet.decode_time - held[0].decode_time < 6.0 + 1e-6
    assert buffer.since(17.55) == tuple(packets[170:])
    assert buffer.after(19.0) == tuple(packets[191:])


def test_a_buffer_that_is_full_gives_what_can_be_decoded_and_what_follows_a_packet_taken():
    packets = own(100, group=1000)
    buffer = buffered(packets[:20], max_bytes=sum(len(packet.data) for packet in packets[:50]))
    assert buffer.since(1.0) == tuple(packets[:20])
    taken = list(buffer.since(1.0))
    for packet in packets[20:]:
        buffer.add(packet)
        taken += buffer.after(taken[-1].decode_time)
        assert sum(len(each.data) for each in buffer.after(-1.0)) <= buffer.max_bytes
    assert (buffer.ready, buffer.since(9.0)) == (False, ())  # the only key picture has gone
    assert taken == packets


def test_a_camera_with_a_key_picture_a_minute_makes_no_clip_begin_a_minute_early():
    packets, buffer = own(700, group=600), buffered([], seconds=7.0)
    for packet in packets:
        buffer.add(packet)
        found = buffer.since(packet.decode_time - 5.0)
        assert buffer.ready == bool(found) == (packet.decode_time % 60 < 17.05)
        assert not found or found[0].decode_time > packet.decode_time - 17.05


def test_tiny_packets_are_bounded_too():
    buffer = buffered([], seconds=1e9, max_bytes=100_000)
    for number in range(2000):
        buffer.add(Packet(b"\0\0\1\1", number, number, key=number % 9 == 0))
    assert 400 < len(buffer.after(-1.0)) <= 100_000 / OVERHEAD_BYTES


def test_a_clip_takes_a_cameras_own_video_up_to_its_share_and_then_jpegs():
    packets = own(300)
    whole = sum(packet.bytes for packet in packets)
    buffer = ClipBuffer(packets, whole // 2)
    held = buffer.packets()
    assert list(held) == packets[: len(held)]
    assert 0.65 < buffer.bytes / buffer.max_bytes <= OWN
    ends = held[-1].time
    for number in range(1, 200):
        assert buffer.lacks(ends + number / 5)
        buffer.add(replace(packet_of_jpeg(ends + number / 5), data=b"\xff\xd8" + bytes(1000)))
        assert buffer.bytes == sum(packet.bytes for packet in buffer.packets()) <= buffer.max_bytes
    jpegs = [packet.time for packet in buffer.packets()[len(held) :]]
    assert buffer.packets()[: len(held)] == held
    assert jpegs[-1] > ends + 37
    assert max(np.diff(jpegs)) < 3 * np.mean(np.diff(jpegs))


# One camera's recorder.


def live(packets, buffer, begin, end, fps=5.0):
    """Frames of a camera, whose packets come a moment before; what has come is taken from the list."""
    for number in range(round((end - begin) * fps)):
        at = begin + number / fps
        while packets and packets[0].decode_time <= at + 0.2:
            buffer.add(packets.pop(0))
        yield frame(at, LazyImage(not_asked_for, (320, 180)), video=buffer)


def drawn(found):
    """The frames with their pictures."""
    return (replace(each, picture=scene(320, 180)) for each in found)


def not_asked_for():
    raise AssertionError("nobody needs the whole picture")


def test_nothing_is_compressed_or_held_for_a_frame_of_a_camera_that_gives_video(tmp_path, monkeypatch):
    asked = []

    def counted(*words, **more):
        asked.append(1)
        return compressed(*words, **more)

    monkeypatch.setattr(recorder, "compressed", counted)
    evidence, sink = camera(tmp_path)
    packets, buffer = own(800), VideoBuffer()
    waiting = list(packets)
    look(evidence, [frame(0.0, video=buffer)])
    assert buffer.seconds == PRE_S + MARGIN_S
    assert len(asked) == 1  # no packet has come yet
    look(evidence, live(waiting, buffer, 0.2, 20.0))
    tell(evidence, event(), frame(20.0, video=buffer))
    look(evidence, live(waiting, buffer, 20.0, 80.0), lambda at: (bear(at),))
    assert len(asked) == 1
    (clip,) = sink.clips
    begins = clip.packets[0].time
    assert 13.9 <= begins <= 15.0
    (found,) = [make() for path, make in sink.jobs[0].files if path.name == "event.json"]
    assert json.loads(found)["clips"] == [{"file": "clip.mp4", "from_s": round(begins - 20.0, 3)}]
    first_one = next(number for number, packet in enumerate(packets) if packet is clip.packets[0])
    assert list(clip.packets) == packets[first_one : first_one + len(clip.packets)]  # also beyond the buffer's seconds
    assert clip.packets[-1].time == pytest.approx(20.0 - PRE_S + 60.0, abs=0.5)


def alarmed(tmp_path, packets, buffer, at):
    """A recorder that has an alarm at a time; the frames before were looked at."""
    evidence, sink = camera(tmp_path)
    look(evidence, [frame(0.0, video=buffer)])
    look(evidence, drawn(live(packets, buffer, 0.2, at)))
    tell(evidence, event(), frame(at, scene(320, 180), video=buffer))
    return evidence, sink


def test_without_a_key_picture_in_reach_there_are_jpegs(tmp_path):
    packets, buffer = own(300, group=1000), VideoBuffer(max_bytes=1000)
    evidence, sink = alarmed(tmp_path, packets, buffer, 10.0)
    look(evidence, drawn(live(packets, buffer, 10.0, 30.0)))
    (clip,) = sink.clips
    assert not any(packet.h264 for packet in clip.packets)
    assert 5.0 <= clip.packets[0].time <= 6.0
    assert clip.packets[-1].time > 19.0
    assert "alarm.jpg" in files(sink)


def test_a_camera_that_reconnects_is_filmed_on(tmp_path):
    packets, buffer = own(140), VideoBuffer()
    waiting = list(packets)
    evidence, sink = alarmed(tmp_path, waiting, buffer, 12.0)
    look(evidence, live(waiting, buffer, 12.0, 14.0), lambda at: (bear(at),))
    again, buffer = filmed(pictures(150, (160, 90)), fps=FPS, start=16.0, group=10), VideoBuffer()
    look(evidence, drawn(live(list(again), buffer, 16.0, 30.0)))
    (clip,) = sink.clips
    assert list(clip.packets[:70]) == packets[70:]
    assert list(clip.packets[70:]) == again[: len(clip.packets) - 70]
    assert clip.packets[-1].time > 23.0


def test_a_camera_that_shows_nothing_new_of_its_own_is_filmed_in_jpegs(tmp_path):
    packets, buffer = own(130), VideoBuffer()
    evidence, sink = alarmed(tmp_path, packets, buffer, 12.0)
    look(evidence, drawn(live(packets, buffer, 12.0, 30.0)))
    (clip,) = sink.clips
    kinds = [packet.h264 for packet in clip.packets]
    assert kinds == sorted(kinds, reverse=True)
    jpegs = [packet.time for packet in clip.packets if not packet.h264]
    assert LATE_S < jpegs[0] - max(packet.time for packet in clip.packets if packet.h264) < LATE_S + 0.4
    assert max(np.diff(jpegs)) < 0.25
    encode(clip.packets, tmp_path / "clip.mp4")
    found = shown(tmp_path / "clip.mp4")
    assert found[-1] == pytest.approx(clip.packets[-1].time - clip.packets[0].time, abs=0.01)
    assert min(np.histogram(found, np.arange(0.0, found[-1], 2.0))[0]) >= 5  # the hole, and the rest at five a second


NOISE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8), (0, 0), 1.1)


@pytest.mark.parametrize("gives", ["H.264 of 8 Mbit/s", "JPEGs of 150 kB", "JPEGs of 390 kB"])
def test_a_clip_of_a_minute_shows_every_second_and_stays_within_its_bytes(tmp_path, gives):
    if gives == "H.264 of 8 Mbit/s":
        packets = [replace(packet, data=packet.data + bytes(100_000)) for packet in own(800)]
        found = (replace(each, picture=NOISE) for each in live(packets, VideoBuffer(), 0.0, 80.0))
    else:
        data = b"\xff\xd8" + bytes(1000 * int(gives.split()[2]))
        found = (frame(number / 5, NOISE, jpeg=data) for number in range(400))
    evidence, sink = camera(tmp_path)
    look(evidence, islice(found, 60), lambda at: (bear(at),))
    tell(evidence, event(), next(found))
    look(evidence, found, lambda at: (bear(at),))
    (clip,) = sink.clips
    assert clip.bytes <= CLIP_BYTES
    times = [packet.time - 12.0 for packet in clip.packets]
    assert times[0] < -3.9
    counts, _ = np.histogram(times, np.arange(0.0, 56.0, 5.0))
    assert min(counts) >= 8
    assert len(times) > 120
    assert (sum(packet.h264 for packet in clip.packets) > 80) == (gives == "H.264 of 8 Mbit/s")


def test_of_a_camera_with_masks_no_video_of_its_own_is_held(tmp_path):
    writer = camera(tmp_path)[1]
    evidence = CameraRecorder(writer, [UPPER_LEFT], 1.0, clips=True)
    packets, buffer = own(300), VideoBuffer()
    look(evidence, (replace(each, picture=NOISE) for each in live(packets, buffer, 0.0, 12.0)))
    tell(evidence, event(), frame(12.0, NOISE, video=buffer))
    look(evidence, (replace(each, picture=NOISE) for each in live(packets, buffer, 12.2, 24.0)))
    (clip,) = writer.clips
    assert len(clip.packets) > 50
    assert len(buffer.after(-1.0)) <= 11  # from the last key picture on
    for packet in clip.packets:
        assert decode_picture(packet.data, "a shot")[:172, :312].max() < 12


def test_a_main_stream_that_comes_and_goes_leaves_a_clip_whose_time_goes_forward(tmp_path):
    """Two streams of one camera: while the large one is stale, its frames have none of its video."""
    packets, buffer = own(300, group=10), VideoBuffer()
    evidence, sink = alarmed(tmp_path, packets, buffer, 10.0)
    for each in drawn(live(packets, buffer, 10.2, 24.0)):
        stale = each.time % 4.0 > 2.0
        look(evidence, [replace(each, video=None) if stale else each])
    (clip,) = sink.clips
    times = [packet.decode_time for packet in clip.packets]
    assert times == sorted(set(times))
    kinds = [packet.h264 for packet in clip.packets]
    assert sum(before and not after for before, after in pairwise(kinds)) >= 2  # it came and went
    for before, after in pairwise(clip.packets):
        assert before.h264 or not after.h264 or after.key  # what can be decoded
    assert max(np.diff(times)) < LATE_S + 0.5
    encode(clip.packets, tmp_path / "clip.mp4")
    assert max(np.diff(shown(tmp_path / "clip.mp4"))) < LATE_S + 0.5
