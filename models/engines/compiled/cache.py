"""Generated source as a module: written once, compiled once per machine, shared by all processes."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from types import ModuleType

WRITTEN_AT = 1_600_000_000  # any fixed time: numba drops its compiled code when the file's time changes


def cache_directory() -> Path:
    """Where generated modules live: $SPIKETWIN_CACHE/kernels, else the user's cache directory."""
    import platformdirs

    return Path(os.environ.get("SPIKETWIN_CACHE") or platformdirs.user_cache_dir("spiketwin")) / "kernels"


@lru_cache(maxsize=256)
def load(source: str) -> ModuleType:
    """The module with this source. Falls back to a temporary directory where the cache cannot be written."""
    name = f"network_{hashlib.sha256(source.encode()).hexdigest()[:24]}"
    try:
        path = _write(cache_directory(), name, source)
    except OSError:
        path = _write(Path(tempfile.mkdtemp(prefix="spiketwin-")), name, source)
    spec = importlib.util.spec_from_file_location(f"spiketwin_generated.{name}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # numba looks the module of a function up by name
    spec.loader.exec_module(module)
    return module


def _write(directory: Path, name: str, source: str) -> Path:
    """Put the file in place in one move: another process sees all of it or nothing."""
    path = directory / f"{name}.py"
    directory.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        handle, partial = tempfile.mkstemp(dir=directory, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(source)
        os.utime(partial, (WRITTEN_AT, WRITTEN_AT))
        os.replace(partial, path)
    return path
