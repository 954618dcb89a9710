"""Heartbeats and high-frequency oscillations by liquids: the systems compared, the study, its figure."""
