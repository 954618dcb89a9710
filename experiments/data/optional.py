"""Libraries that only some data sets need."""

from __future__ import annotations

from importlib import import_module


def library(name: str):
    """A library of the extra `events`. Raises ImportError that names the extra."""
    try:
        return import_module(name)
    except ImportError:
        raise ImportError(
            f"this needs {name}, which is not installed; install it with: pip install 'spiketwin[events]'", name=name
        ) from None
