"""The loudspeaker: our own sounds, any WAV file, real players, and no siren that outlives its time."""

import io
import shutil
import struct
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from edge.alert.sound import NAMES, SOUNDS, Player, Sound, find_players, read_wav
from edge.errors import OptionError, UnavailableError
from tests.helpers.make_sounds import wav_files
from tests.helpers.sink_world import script

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins for players are shell scripts")
ROOT = Path(__file__).parents[2]


def heard(name, seconds):
    """Return what a player reads of one of our sounds: samples -1 to 1 and their rate, by way of the wave module."""
    with wave.open(io.BytesIO(read_wav(SOUNDS / f"{name}.wav", 60.0).lasting(seconds))) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768.0
        return samples, file.getframerate()


def spectrum(samples, rate):
    """Hertz, and the power there."""
    return np.fft.rfftfreq(len(samples), 1.0 / rate), np.abs(np.fft.rfft(samples)) ** 2


def test_the_siren_is_loud_and_where_ears_and_small_speakers_are_best():
    samples, rate = heard("siren", 20.0)
    assert len(samples) / rate == 20.0
    assert 0.95 < np.max(np.abs(samples)) < 1.0
    assert np.sqrt(np.mean(samples**2)) > 0.7  # a full sine has 0.707
    hertz, power = spectrum(samples[: 2 * rate], rate)
    assert 2000.0 <= hertz[np.argmax(power)] <= 4000.0
    assert power[(hertz > 1900.0) & (hertz < 4100.0)].sum() > 0.85 * power.sum()
    # It sweeps: in 20 ms there is one pitch, and all of them come by.
    pitches = []
    for start in range(0, rate, rate // 50):
        hertz, power = spectrum(samples[start : start + rate // 50], rate)
        pitches.append(hertz[np.argmax(power)])
    assert min(pitches) < 2200.0
    assert max(pitches) > 3800.0
    # The join of two phrases is no louder a step than any other.
    steps = np.abs(np.diff(samples[: 4 * rate]))
    assert steps[2 * rate - 2 : 2 * rate + 2].max() <= steps[: 2 * rate - 2].max() + 0.01


def test_the_chirp_is_short_and_mostly_silence():
    samples, rate = heard("chirp", 1.5)
    assert np.max(np.abs(samples)) > 0.9
    assert np.mean(np.abs(samples) > 0.01) < 0.25
    hertz, power = spectrum(samples, rate)
    assert 2400.0 < hertz[np.argmax(power)] < 3600.0


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("siren", "chirp")])
def test_noises_are_loud_and_last_a_while(name):
    samples, rate = heard(name, 4.0)
    assert read_wav(SOUNDS / f"{name}.wav", 60.0).seconds == 4.0
    assert 0.9 < np.max(np.abs(samples)) < 1.0
    assert np.max(np.abs(samples[-10:])) < 0.05  # repeated without a click
    assert np.sqrt(np.mean(samples**2)) > 0.2
    assert abs(np.mean(samples)) < 0.02
    hertz, power = spectrum(samples, rate)
    assert power[(hertz > 250.0) & (hertz < 6000.0)].sum() > 0.8 * power.sum()


def test_any_sound_is_unlike_the_others():
    shapes = {}
    for name in NAMES:
        hertz, power = spectrum(*heard(name, 4.0))
        share = np.histogram(hertz, np.geomspace(100.0, 8_000.0, 25), weights=power)[0]
        shapes[name] = share / np.linalg.norm(share)
    for one in NAMES:
        for other in NAMES:
            assert one == other or float(shapes[one] @ shapes[other]) < 0.95, (one, other)


def test_the_script_makes_these_files_and_the_wheel_stays_small():
    made = wav_files()
    assert made.keys() == {path.name for path in SOUNDS.iterdir()}
    assert sum(map(len, made.values())) < 600_000
    for name, data in made.items():
        kept = (SOUNDS / name).read_bytes()
        assert len(kept) == len(data)
        assert kept[:44] == data[:44]
        one, other = (np.frombuffer(each[44:], "<i2").astype(int) for each in (kept, data))
        assert np.max(np.abs(one - other)) <= 2, name  # the last figure of a sine depends on the processor


def riff(tag, channels, rate, bits, data, *, size=None, before=b""):
    block = channels * bits // 8
    format_ = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + format_ + before
    chunks += b"data" + struct.pack("<I", len(data) if size is None else size) + data
    return b"RIFF" + struct.pack("<I", len(chunks)) + chunks


@pytest.mark.parametrize(
    ("tag", "channels", "rate", "bits"), [(1, 2, 48_000, 24), (1, 1, 8_000, 8), (3, 1, 44_100, 32), (7, 1, 8_000, 8)]
)
@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF])
def test_a_wav_of_any_kind_is_cut_or_repeated_to_its_time(tmp_path, tag, channels, rate, bits, size):
    block = channels * bits // 8
    data = bytes(range(256)) * (rate * block // 256 + 1)
    data = data[: rate * block]  # one second
    path = tmp_path / "own.wav"
    path.write_bytes(riff(tag, channels, rate, bits, data, size=size, before=b"LIST\x03\0\0\0abc\0"))
    wav = read_wav(path, 60.0)
    assert wav.seconds == 1.0
    for seconds in (0.5, 2.25):
        path.write_bytes(wav.lasting(seconds))
        again = read_wav(path, 60.0)
        assert again.format == wav.format
        assert again.seconds == pytest.approx(seconds, abs=1.0 / rate)
        assert again.data == (data * 3)[: len(again.data)]
    assert read_wav(path, 0.25).seconds == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"ID3\x04 an MP3 with another name", "is no WAV file; convert it"),
        (riff(85, 2, 44_100, 16, b"mp3" * 99), "not every player knows .format 85."),
        (riff(1, 2, 44_100, 16, b""), "holds no sound"),
        (riff(1, 2, 44_100, 16, b"")[:30], "breaks off before its sound"),
        (riff(1, 0, 44_100, 16, b"1234"), "not every player knows"),
    ],
)
def test_what_is_no_sound_is_one_sentence(tmp_path, content, reason):
    path = tmp_path / "own.wav"
    path.write_bytes(content)
    with pytest.raises(OptionError, match=reason):
        Sound(str(path), players=[Player("any", ("true",))])


def test_a_word_is_a_mistake_and_a_file_that_is_not_there_may_come_later(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    players = [Player("any", ("true",))]
    with pytest.raises(OptionError, match=r"is no known sound; write one of siren, chirp, .*, or the path of a WAV"):
        Sound("trumpet", players=players)
    (tmp_path / "file").touch()
    for absent in ("horn.WAV", "usb/horn", str(tmp_path / "usb" / "horn.wav"), "file/horn.wav"):
        with pytest.raises(UnavailableError, match=r"is not there; mount its disk"):
            Sound(absent, players=players)
    shutil.copy(SOUNDS / "horn.wav", tmp_path / "horn.WAV")
    Sound("horn.WAV", players=players).close()


def test_players_are_those_installed_the_desktops_first(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="no program that plays sounds was found; install aplay"):
        find_players(platform="linux")
    for name in ("aplay", "paplay", "pw-play", "afplay"):
        script(tmp_path, name, "exit 0")
    assert [player.name for player in find_players(platform="linux")] == ["pw-play", "paplay", "aplay"]
    (only,) = find_players("hw:1,0", platform="linux")
    assert only.command[1:] == ("-q", "-D", "hw:1,0")
    assert [player.name for player in find_players(platform="darwin")] == ["afplay"]
    (windows,) = find_players(platform="win32")
    compile(windows.command[2], "winsound", "exec")
    for platform in ("darwin", "win32"):
        with pytest.raises(OptionError, match="a name for ALSA"):
            find_players("hw:1,0", platform=platform)
