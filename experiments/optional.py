"""Libraries that only some data sets and studies need."""

from __future__ import annotations

from importlib import import_module


def library(name: str, extra: str):
    """A library that an extra of this package brings. Raises ImportError that names the extra."""
    try:
        return import_module(name)
    except ImportError:
        raise ImportError(
            f"this needs {name.partition('.')[0]}, which is not installed; install it with: pip install 'spiketwin[{extra}]'", name=name
        ) from None
