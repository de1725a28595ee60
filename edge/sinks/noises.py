"""Noises of dogs and people, made by arithmetic: barks, shouts, banging on metal. And every sound by its name."""

from __future__ import annotations

import numpy as np

from edge.sinks.tones import add, chirp, harmonics, horn, loud, siren, swell
from edge.sinks.wav import RATE, Samples

TONES = ("siren", "chirp")
NOISES = ("horn", "barks", "shouts", "bangs")
NAMES = TONES + NOISES
PHRASE_S = 6.0


def make(name: str, seed: int = 0) -> Samples:
    """The sound of that name, one of ``NAMES``; another seed gives other barks, shouts, bangs and blasts."""
    chance = np.random.default_rng(seed)
    if name == "siren":
        return siren()
    if name == "chirp":
        return chirp()
    return {"horn": horn, "barks": barks, "shouts": shouts, "bangs": bangs}[name](chance)


def barks(chance: np.random.Generator) -> Samples:
    """A big dog, by the sound of it: bursts of one to three barks; 6 s."""
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
    """Like angry shouts of "hey!": a voice's gliding vowels and no words; 6 s."""
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
    """Somebody beats on pots and sheet metal, never in time; 6 s."""
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
    """How loud a throat with those resonances (Hz) lets a frequency through, about 0 to 1."""
    return sum(0.7**number / (1.0 + ((hertz - peak) / (0.12 * peak + 60.0)) ** 2) for number, peak in enumerate(peaks))


def coloured(length: int, band_hz: tuple[float, float], chance: np.random.Generator) -> Samples:
    """Noise between two frequencies, -1 to 1; ``length`` in samples."""
    spectrum = np.fft.rfft(chance.standard_normal(length))
    hertz = np.fft.rfftfreq(length, 1.0 / RATE)
    spectrum[(hertz < band_hz[0]) | (hertz > band_hz[1])] = 0.0
    noise = np.fft.irfft(spectrum, length)
    return noise / (float(np.max(np.abs(noise))) or 1.0)
