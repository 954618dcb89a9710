"""Where data sets lie on this machine, and how they get there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spiketwin.experiments.data.errors import DataError


@dataclass(frozen=True)
class Remote:
    """A published file: its address, and its checksum as pooch writes it ('md5:…')."""

    url: str
    checksum: str


def cache() -> Path:
    """The folder that downloads go to."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("spiketwin")) / "data"


def folders(name: str) -> list[Path]:
    """Where a data set is looked for, in this order: $SPIKETWIN_DATA, the system's data sets, the cache."""
    chosen = os.environ.get("SPIKETWIN_DATA")
    return [root / name for root in ([Path(chosen).expanduser()] if chosen else []) + [Path("/usr/share/datasets"), cache()]]


def locate(
    name: str, wanted: Mapping[str, tuple[str, ...]], remote: Mapping[str, Remote], *, download: bool | None = None
) -> dict[str, Path]:
    """The path of each wanted file, all from one folder.

    wanted: file -> names it may have, e.g. packed and unpacked.  remote: name -> where it is published.
    download: fetch what is missing into the cache; None asks the environment (SPIKETWIN_DOWNLOAD=1).
    Raises DataError that lists the folders looked in, the files wanted and how to get them.
    """
    for folder in folders(name):
        found = {key: next((folder / n for n in names if (folder / n).is_file()), None) for key, names in wanted.items()}
        if all(found.values()):
            return {key: path for key, path in found.items() if path}
    if download if download is not None else os.environ.get("SPIKETWIN_DOWNLOAD", "0") not in ("", "0"):
        return {key: _fetch(name, names[0], remote[names[0]]) for key, names in wanted.items()}
    raise DataError(
        f"{name} was not found.\n"
        f"  looked in: {', '.join(map(_state, folders(name)))}\n"
        f"  wanted: {', '.join(names[0] for names in wanted.values())}\n"
        f"  to get them: put the files into a folder '{name}' and set SPIKETWIN_DATA to the folder that holds it, "
        f"or set SPIKETWIN_DOWNLOAD=1 to fetch them from {os.path.dirname(next(iter(remote.values())).url)}"
    )


def _state(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} (does not exist)"
    held = sorted(p.name for p in folder.iterdir())
    return f"{folder} ({'is empty' if not held else f'holds {len(held)} files, not all of those wanted'})"


def _fetch(name: str, file: str, remote: Remote) -> Path:
    import pooch
    import requests

    try:
        return Path(pooch.retrieve(remote.url, remote.checksum, fname=file, path=cache() / name, progressbar=False))
    except (requests.RequestException, OSError) as error:
        raise DataError(
            f"{remote.url} could not be fetched ({type(error).__name__}); is this machine online? Else put the file into {cache() / name}"
        ) from None
    except ValueError as error:
        raise DataError(f"{remote.url} is not the published file: {error}") from None
