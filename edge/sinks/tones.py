"""Signals made of tones: a siren, a chirp, an air horn. Each is a phrase that may be repeated without a gap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge.sinks.wav import RATE, Samples

LOUD = 0.98  # of full scale: the highest peak
TWO_PI = 2.0 * np.pi


def siren() -> Samples:
    """A shrill sweep between 2 and 4 kHz and back, four times in two seconds; 2 s.

    There small speakers are loudest and ears keenest. A sine with its third harmonic is louder at the same peak.
    """
    sweep_s = 0.5  # at 3 kHz on average 1500 whole waves, so that it joins on to itself without a click
    at = np.arange(round(sweep_s * RATE)) / (sweep_s * RATE)  # 0 to 1
    hertz = 2000.0 + 2000.0 * (1.0 - np.abs(2.0 * at - 1.0))
    phase = TWO_PI * np.cumsum(hertz) / RATE
    return np.tile(loud(np.sin(phase) + np.sin(3.0 * phase) / 3.0), 4)


def chirp() -> Samples:
    """Two short rising notes, from 2.5 to 3.5 kHz, and silence: noticed by who is near, no siren; 1.5 s."""
    note = np.arange(round(0.12 * RATE)) / RATE
    phase = TWO_PI * (2500.0 * note + 0.5 * (1000.0 / 0.12) * note**2)
    sound = np.zeros(round(1.5 * RATE))
    for start_s in (0.0, 0.2):
        add(sound, start_s, np.sin(phase) * swell(len(note), 0.005, 0.02))
    return loud(sound)


def horn(chance: np.random.Generator) -> Samples:
    """Blasts of an air horn, three rough tones at once, each of another length; about 6 s."""
    sound = np.zeros(round(6.0 * RATE))
    start_s = 0.0
    while start_s < 5.0:
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
    """A tone whose pitch goes with ``hertz``, with all its harmonics below 9 kHz; ``gain`` weighs a frequency in Hz."""
    phase = TWO_PI * np.cumsum(hertz) / RATE
    middle = float(np.mean(hertz))
    many = int(9000.0 / float(np.max(hertz)))
    sound = np.zeros(len(hertz))
    for number in range(1, many + 1):
        sound += gain(number * middle) * np.sin(number * phase)
    return sound


def swell(length: int, rise_s: float, fall_s: float) -> Samples:
    """Loudness 0 to 1 that rises and falls, so that nothing clicks; ``length`` in samples."""
    at = np.arange(length) / RATE
    end = length / RATE - at
    return np.clip(at / rise_s, 0.0, 1.0) * np.clip(end / fall_s, 0.0, 1.0)


def add(sound: Samples, start_s: float, part: Samples) -> None:
    """Mix a part into a sound, from a time on; what goes beyond its end is cut, all of it where it begins there."""
    start = min(round(start_s * RATE), len(sound))
    end = min(start + len(part), len(sound))
    sound[start:end] += part[: end - start]


def loud(sound: Samples, drive: float = 0.0) -> Samples:
    """As loud as the samples allow; ``drive`` over 0 presses the peaks, so that the rest becomes louder."""
    peak = float(np.max(np.abs(sound))) or 1.0
    sound = sound / peak
    if drive > 0.0:
        sound = np.tanh(drive * sound) / np.tanh(drive)
    return LOUD * sound
