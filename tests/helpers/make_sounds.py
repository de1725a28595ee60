"""Make the sounds in edge/alert/sounds by arithmetic: ``python -m tests.helpers.make_sounds``.

The same script makes the same files, so that a changed sound is a changed line here. Needs numpy alone.
"""

import io
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parents[2] / "edge" / "alert" / "sounds"

Samples = NDArray[np.float64]  # (n,) -1 to 1, mono

RATE = 16_000  # samples a second: what throats and pots have to say lies below 8 kHz
SIREN_RATE = 22_050  # its third harmonic goes higher
MAX_HZ = 7_500.0  # of a harmonic, below half the rate
PHRASE_S = 4.0
PEAK = 0.98  # of full scale
TWO_PI = 2.0 * np.pi
SEED = 7  # of those tried one whose sounds all end in silence


def main() -> None:
    """Write every file."""
    FOLDER.mkdir(exist_ok=True)
    for name, data in wav_files().items():
        (FOLDER / name).write_bytes(data)


def wav_files() -> dict[str, bytes]:
    """Return the WAV files by name."""
    made = {"siren": wav_bytes(siren(), SIREN_RATE), "chirp": wav_bytes(chirp())}
    for noise in (horn, barks, shouts, bangs):
        made[noise.__name__] = wav_bytes(noise(np.random.default_rng(SEED)))
    return {f"{name}.wav": data for name, data in made.items()}


def wav_bytes(samples: Samples, rate: int = RATE) -> bytes:
    """Return a whole WAV file, 16-bit mono."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.round(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes())
    return file.getvalue()


def siren() -> Samples:
    """Make a shrill sweep between 2 and 4 kHz and back, which joins on to itself without a click; 0.5 s.

    There small speakers are loudest and ears keenest. A sine with its third harmonic is louder at the same peak.
    """
    many = SIREN_RATE // 2  # at 3 kHz on average 1500 whole waves
    at = np.arange(many) / many  # 0 to 1
    hertz = 2000.0 + 2000.0 * (1.0 - np.abs(2.0 * at - 1.0))
    phase = TWO_PI * np.cumsum(hertz) / SIREN_RATE
    third = np.clip((10_500.0 - 3.0 * hertz) / 1500.0, 0.0, 1.0)  # above, it would fold back
    return loud(np.sin(phase) + third * np.sin(3.0 * phase) / 3.0)


def chirp() -> Samples:
    """Make two short rising notes, from 2.5 to 3.5 kHz, and silence: noticed by who is near, no siren; 1.5 s."""
    note = np.arange(round(0.12 * RATE)) / RATE
    phase = TWO_PI * (2500.0 * note + 0.5 * (1000.0 / 0.12) * note**2)
    sound = np.zeros(round(1.5 * RATE))
    for start_s in (0.0, 0.2):
        add(sound, start_s, np.sin(phase) * swell(len(note), 0.005, 0.02))
    return loud(sound)


def horn(chance: np.random.Generator) -> Samples:
    """Make blasts of an air horn, three rough tones at once, each of another length; 4 s."""
    sound = np.zeros(round(PHRASE_S * RATE))
    start_s = 0.0
    while start_s < PHRASE_S - 1.0:
        length_s = float(chance.uniform(0.4, 1.6))
        pitch = float(chance.uniform(0.92, 1.08))
        bend = 1.0 - 0.06 * np.exp(-np.arange(round(length_s * RATE)) / (0.04 * RATE))  # it blows up to its pitch
        blast = sum(
            harmonics(hertz * pitch * bend, lambda f: 1.0 / (1.0 + (f / 2500.0) ** 2)) for hertz in (415, 523, 622)
        )
        add(sound, start_s, blast * swell(len(bend), 0.02, 0.06))
        start_s += length_s + float(chance.uniform(0.15, 0.6))
    return loud(sound, drive=3.0)


def harmonics(hertz: Samples, gain: Callable[[float], float]) -> Samples:
    """Make a tone of pitch ``hertz`` with its harmonics below ``MAX_HZ``; ``gain`` weighs a frequency in Hz."""
    phase = TWO_PI * np.cumsum(hertz) / RATE
    middle = float(np.mean(hertz))
    many = int(MAX_HZ / float(np.max(hertz)))
    sound = np.zeros(len(hertz))
    for number in range(1, many + 1):
        sound += gain(number * middle) * np.sin(number * phase)
    return sound


def swell(length: int, rise_s: float, fall_s: float) -> Samples:
    """Return loudness 0 to 1 that rises and falls, so that nothing clicks; ``length`` in samples."""
    at = np.arange(length) / RATE
    end = length / RATE - at
    return np.clip(at / rise_s, 0.0, 1.0) * np.clip(end / fall_s, 0.0, 1.0)


def add(sound: Samples, start_s: float, part: Samples) -> None:
    """Mix a part into a sound, from a time on; what goes beyond its end is cut, all of it where it begins there."""
    start = min(round(start_s * RATE), len(sound))
    end = min(start + len(part), len(sound))
    sound[start:end] += part[: end - start]


def loud(sound: Samples, drive: float = 0.0) -> Samples:
    """Make it as loud as the samples allow; ``drive`` over 0 presses the peaks, so that the rest becomes louder."""
    peak = float(np.max(np.abs(sound))) or 1.0
    sound = sound / peak
    if drive > 0.0:
        sound = np.tanh(drive * sound) / np.tanh(drive)
    return PEAK * sound


def barks(chance: np.random.Generator) -> Samples:
    """Make a big dog, by the sound of it: bursts of one to three barks; 4 s."""
    sound = np.zeros(round(PHRASE_S * RATE))
    start_s = 0.0
    while start_s < PHRASE_S - 0.5:
        for _ in range(int(chance.integers(1, 4))):
            length_s = float(chance.uniform(0.14, 0.24))
            at = np.arange(round(length_s * RATE)) / (length_s * RATE)
            # Up fast and down again, as a throat does it.
            hertz = float(chance.uniform(260.0, 340.0)) * (1.0 + 0.8 * np.sin(np.pi * np.sqrt(at)))
            bark = harmonics(hertz, lambda f: formants(f, (650.0, 1250.0, 2600.0)))
            rasp = coloured(len(at), (700.0, 2600.0), chance) * 0.6
            add(sound, start_s, (bark / np.max(np.abs(bark)) + rasp) * swell(len(at), 0.008, 0.08))
            start_s += length_s + float(chance.uniform(0.12, 0.3))
        start_s += float(chance.uniform(0.2, 0.8))
    return loud(sound, drive=3.0)


def shouts(chance: np.random.Generator) -> Samples:
    """Make what sounds like angry shouts of "hey!": a voice's gliding vowels and no words; 4 s."""
    sound = np.zeros(round(PHRASE_S * RATE))
    start_s = 0.0
    while start_s < PHRASE_S - 0.8:
        length_s = float(chance.uniform(0.35, 0.7))
        at = np.arange(round(length_s * RATE)) / (length_s * RATE)
        hertz = float(chance.uniform(150.0, 230.0)) * (1.0 + 0.45 * np.sin(np.pi * at) - 0.15 * at)
        first = harmonics(hertz, lambda f: formants(f, (560.0, 1750.0, 2500.0)))  # "e"
        then = harmonics(hertz, lambda f: formants(f, (320.0, 2200.0, 3000.0)))  # "i"
        voice = (1.0 - at) * first / np.max(np.abs(first)) + at * then / np.max(np.abs(then))
        breath = coloured(len(at), (500.0, 2500.0), chance) * 0.5 * np.exp(-at * 8.0)
        add(sound, start_s, (voice + breath) * swell(len(at), 0.03, 0.12))
        start_s += length_s + float(chance.uniform(0.2, 0.9))
    return loud(sound, drive=3.0)


def bangs(chance: np.random.Generator) -> Samples:
    """Beat on pots and sheet metal, never in time; 4 s."""
    sound = np.zeros(round(PHRASE_S * RATE))
    start_s = 0.0
    while start_s < PHRASE_S - 0.3:
        at = np.arange(round(0.6 * RATE)) / RATE
        base = float(chance.uniform(320.0, 700.0))
        bang = coloured(len(at), (300.0, 6000.0), chance) * np.exp(-at / 0.012) * 1.5
        for ratio in (1.0, 1.59, 2.14, 2.92, 3.65, 5.1):  # of a plate, not of a string
            ring_s = float(chance.uniform(0.05, 0.25)) / ratio**0.5
            bang += np.sin(2.0 * np.pi * base * ratio * at + float(chance.uniform(0.0, 6.0))) * np.exp(-at / ring_s)
        add(sound, start_s, bang * swell(len(at), 0.0005, 0.05) * float(chance.uniform(0.6, 1.0)))
        start_s += float(chance.choice((0.18, 0.25, 0.4, 0.7))) * float(chance.uniform(0.8, 1.25))
    return loud(sound, drive=3.0)


def formants(hertz: float, peaks: tuple[float, ...]) -> float:
    """Return how loud a throat with those resonances (Hz) lets a frequency through, about 0 to 1."""
    return sum(0.7**number / (1.0 + ((hertz - peak) / (0.12 * peak + 60.0)) ** 2) for number, peak in enumerate(peaks))


def coloured(length: int, band_hz: tuple[float, float], chance: np.random.Generator) -> Samples:
    """Make noise between two frequencies, -1 to 1; ``length`` in samples."""
    spectrum = np.fft.rfft(chance.standard_normal(length))
    hertz = np.fft.rfftfreq(length, 1.0 / RATE)
    spectrum[(hertz < band_hz[0]) | (hertz > band_hz[1])] = 0.0
    noise = np.fft.irfft(spectrum, length)
    return noise / (float(np.max(np.abs(noise))) or 1.0)


if __name__ == "__main__":
    main()
