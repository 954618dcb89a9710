"""Heartbeats cut out of records, in the classes of the AAMI.

    N   normal, bundle branch block, atrial or nodal escape         S   supraventricular premature
    V   ventricular premature or escape                             F   fusion of a ventricular and a normal one

Paced and unclassifiable beats (Q) are left out.

Source: ANSI/AAMI EC57:1998, as de Chazal, O'Dwyer & Reilly 2004, IEEE Trans. Biomed. Eng. 51:1196, table I.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.signal

from spiketwin.experiments.data.biosignals.wfdb import Record
from spiketwin.experiments.data.biosignals.windows import Windows
from spiketwin.experiments.data.errors import DataError

CLASSES = ("N", "S", "V", "F")
AAMI = {letter: k for k, letters in enumerate(("NLRej", "AaJS", "VE", "F")) for letter in letters}
BEFORE_MS, AFTER_MS = 850.0, 350.0
# P and T waves lie below some 10 Hz, QRS complexes mostly above; below half a Hz is breath, above 40 Hz muscle and mains
BANDS_HZ = ((0.5, 10.0), (10.0, 40.0))


def cut(records: Sequence[Record], subjects: Sequence[int]) -> Windows:
    """Windows from 850 ms before to 350 ms after each beat, of each record's first lead, in two bands [samples, frames, 2].

    A band is divided by its standard deviation in the record. Beats whose windows reach out of the record are left out.
    Raises DataError for records of different rates, and for a record with NaN.
    """
    rates = {record.rate_hz for record in records}
    if len(rates) != 1:
        raise DataError(f"the records have {sorted(rates)} frames per second; give those of one rate")
    rate_hz = rates.pop()
    before, after = (round(ms * 1e-3 * rate_hz) for ms in (BEFORE_MS, AFTER_MS))
    signals, labels, whose = [], [], []
    for record, subject in zip(records, subjects, strict=True):
        lead = record.signals[:, 0]
        if not np.isfinite(lead).all():
            raise DataError(f"the record of subject {subject} holds NaN or infinite values; cut it there")
        banded = filtered(lead, rate_hz)
        kept = [
            (frame, AAMI[symbol])
            for frame, symbol in zip(record.at, record.symbols, strict=True)
            if symbol in AAMI and before <= frame <= len(lead) - after
        ]
        signals += [banded[frame - before : frame + after] for frame, _ in kept]
        labels += [label for _, label in kept]
        whose += [subject] * len(kept)
    if not labels:
        raise DataError(f"{len(records)} records hold no beat of the classes {', '.join(CLASSES)}")
    return Windows(np.array(signals, dtype=np.float32), np.array(labels), np.array(whose), rate_hz)


def filtered(lead: np.ndarray, rate_hz: float) -> np.ndarray:
    """A lead [frames] in bands [frames, 2], without delay, each of standard deviation 1."""
    bands = []
    for band in BANDS_HZ:
        sos = scipy.signal.butter(2, band, "bandpass", fs=rate_hz, output="sos")
        signal = scipy.signal.sosfiltfilt(sos, lead)
        bands.append(signal / (signal.std() or 1.0))
    return np.stack(bands, axis=1)
