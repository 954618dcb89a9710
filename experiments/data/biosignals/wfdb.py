"""The files of PhysioNet's waveform data base, as far as MIT-BIH needs them: header, signals of format 212, beat annotations.

    NAME.hea   text: name, signals, rate, frames; a line per signal: file, format, gain(baseline)/unit, bits, zero, first, checksum, …
    NAME.dat   pairs of 12-bit numbers in three bytes: low 8 bits of a, high 4 bits of b and of a, low 8 bits of b
    NAME.atr   16-bit words, code · 1024 + frames since the last one; SKIP has the frames in two words; AUX is followed by text; 0 ends it

Source: Moody, WFDB Applications Guide, header(5), signal(5), annot(5), https://physionet.org/physiotools/wag/.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spiketwin.experiments.data.errors import DataError

# annotation codes of beats, and the letters they are written as (ecgcodes.h)
BEATS = {
    1: "N", 2: "L", 3: "R", 4: "a", 5: "V", 6: "F", 7: "J", 8: "A", 9: "S", 10: "E", 11: "j", 12: "/", 13: "Q", 30: "?", 34: "e", 35: "n", 38: "f",
}  # fmt: skip
SKIP, NUMBER, SUBTYPE, CHANNEL, AUX = 59, 60, 61, 62, 63


class Record(NamedTuple):
    """signals: [frames, leads] in mV.  rate_hz: frames per second.  leads: their names.  at: frames of the beats.  symbols: their letters."""

    signals: np.ndarray
    rate_hz: float
    leads: tuple[str, ...]
    at: np.ndarray
    symbols: tuple[str, ...]


def read(folder: Path, name: str) -> Record:
    """A record of signals in format 212 and its beats. Raises DataError that names the file and what is wrong."""
    header = folder / f"{name}.hea"
    lines = [line for line in _bytes(header).decode("latin-1").splitlines() if line.strip() and not line.startswith("#")]
    try:
        _, many, rate, frames = lines[0].split()[:4]
        leads, length, rate_hz = int(many), int(frames), float(re.split("[/(]", rate)[0])
        specs = [line.split(maxsplit=8) for line in lines[1 : 1 + leads]]
        formats = {spec[1] for spec in specs}
        files = {spec[0] for spec in specs}
        scales = [_scale(spec) for spec in specs]
    except (ValueError, IndexError) as error:
        raise DataError(f"{header} is no WFDB header ({error})") from None
    if len(specs) != leads or formats != {"212"} or len(files) != 1 or not rate_hz > 0:
        raise DataError(
            f"{header} announces {leads} signals in {sorted(files)} of format {sorted(formats)} at {rate_hz:g} Hz, "
            "expected all in one file of format 212"
        )
    path = folder / files.pop()
    numbers = unpacked(_bytes(path))
    if len(numbers) < leads * length:
        raise DataError(f"{path} is truncated: its header announces {length} frames of {leads} signals, found {len(numbers)} numbers")
    gain, baseline = np.array(scales).T
    signals = (numbers[: leads * length].reshape(length, leads) - baseline) / gain
    at, symbols = _beats(folder / f"{name}.atr", length)
    return Record(signals, rate_hz, tuple(spec[8] if len(spec) > 8 else "" for spec in specs), at, symbols)


def unpacked(raw: bytes) -> np.ndarray:
    """Format 212: signed 12-bit numbers, two in three bytes; a last odd one in two."""
    data = np.frombuffer(raw, np.uint8).astype(np.int32)
    data = np.concatenate([data, np.zeros(-len(data) % 3, np.int32)]).reshape(-1, 3)
    pairs = np.stack([data[:, 0] | (data[:, 1] & 0x0F) << 8, data[:, 2] | (data[:, 1] & 0xF0) << 4], axis=1)
    signed = np.where(pairs > 2047, pairs - 4096, pairs).ravel()
    return signed[: len(raw) * 2 // 3]


def _scale(spec: list[str]) -> tuple[float, float]:
    """Units per mV, and what stands for 0 mV: 200 per mV and the ADC's zero where the header does not say."""
    found = re.match(r"([\d.eE+-]+)?(?:\((-?\d+)\))?(?:/(\w+))?", spec[2] if len(spec) > 2 else "")
    gain, baseline, unit = found.groups()
    if unit not in (None, "mV"):
        raise ValueError(f"a signal in {unit}, expected mV")
    return float(gain or 0) or 200.0, float(baseline if baseline is not None else spec[4] if len(spec) > 4 else 0)


def _beats(path: Path, length: int) -> tuple[np.ndarray, tuple[str, ...]]:
    raw = _bytes(path)
    words = np.frombuffer(raw[: len(raw) // 2 * 2], "<u2").astype(int)
    at, symbols, now, k = [], [], 0, 0
    while k < len(words):
        code, interval = words[k] >> 10, words[k] & 0x3FF
        k += 1
        if code == 0 and interval == 0:
            break
        if code == SKIP:
            if k + 2 > len(words):
                raise DataError(f"{path} is truncated: it ends within an annotation")
            leap = (words[k] << 16) + words[k + 1]  # the high word comes first
            now += leap - (1 << 32) * (leap >> 31)
            k += 2
        elif code == AUX:
            k += (interval + 1) // 2
        elif code not in (NUMBER, SUBTYPE, CHANNEL):
            now += interval
            if code in BEATS:
                at.append(now)
                symbols.append(BEATS[code])
    else:
        raise DataError(f"{path} is truncated: it has no end mark")
    if at and not (0 <= min(at) and max(at) < length):
        raise DataError(f"{path} has a beat at frame {max(at)}, but the record has {length}; they are of different records")
    return np.array(at, dtype=int), tuple(symbols)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); a record is its .hea, .dat and .atr file") from None
