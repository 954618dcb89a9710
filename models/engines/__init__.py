"""Engines: brian (the reference), torch (trains), compiled (fast), scipy (adaptive truth)."""

from spiketwin.models.engines.base import ENGINES, Engine, UnstableError, UnsupportedError, get_engine

__all__ = ["ENGINES", "Engine", "UnstableError", "UnsupportedError", "get_engine"]
