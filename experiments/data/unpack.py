"""Files that may be packed by gzip."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from spiketwin.experiments.data.errors import DataError


def unpacked(path: Path) -> bytes:
    """The bytes of a file, of its contents if it ends in '.gz'. Raises DataError for a damaged archive."""
    packed = path.read_bytes()
    if path.suffix != ".gz":
        return packed
    try:
        return gzip.decompress(packed)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} is truncated or damaged: gzip cannot unpack its {len(packed)} bytes ({error}); fetch it again") from None
