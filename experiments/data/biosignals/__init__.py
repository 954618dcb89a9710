"""Signals of the body, in windows to be told apart: heartbeats (synthetic, or of MIT-BIH) and high-frequency oscillations.

windows.py                  what all of them give: windows, labels, and whose they are
synthetic_ecg.py, mit_bih.py    records of heartbeats; beats.py cuts them into windows
wfdb.py                     the file format of PhysioNet
oscillations.py             ripples among sharp transients
"""
