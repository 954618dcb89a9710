"""Where data sets lie on this machine, and how they get there."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spiketwin.experiments.data.errors import DataError


@dataclass(frozen=True)
class Remote:
    """A published file: its address, and its checksum as pooch writes it ('md5:…')."""

    url: str
    checksum: str


@dataclass(frozen=True)
class Files:
    """The files of a data set.

    folder: its name in each of the places that are looked in.
    wanted: file -> names it may have, e.g. packed and unpacked.
    remote: name -> where it is published, for names whose checksum is published too; others are fetched by hand.
    page: where a person finds them.
    """

    folder: str
    wanted: Mapping[str, tuple[str, ...]]
    remote: Mapping[str, Remote] = field(default_factory=dict)
    page: str = ""


def cache() -> Path:
    """The folder that downloads go to."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("spiketwin")) / "data"


def folders(name: str) -> list[Path]:
    """Where a data set is looked for, in this order: $SPIKETWIN_DATA, the system's data sets, the cache."""
    chosen = os.environ.get("SPIKETWIN_DATA")
    return [root / name for root in ([Path(chosen).expanduser()] if chosen else []) + [Path("/usr/share/datasets"), cache()]]


def find(files: Files) -> dict[str, Path] | None:
    """The path of each wanted file, all from one folder; None where no folder holds them all."""
    for folder in folders(files.folder):
        found = {key: next((folder / n for n in names if (folder / n).is_file()), None) for key, names in files.wanted.items()}
        if all(found.values()):
            return {key: path for key, path in found.items() if path}
    return None


def locate(files: Files, *, download: bool | None = None) -> dict[str, Path]:
    """The path of each wanted file, all from one folder.

    download: fetch what is missing into the cache; None asks the environment (SPIKETWIN_DOWNLOAD=1).
    Raises DataError that lists the folders looked in, the files wanted and how to get them.
    """
    if found := find(files):
        return found
    if download if download is not None else os.environ.get("SPIKETWIN_DOWNLOAD", "0") not in ("", "0"):
        names = {key: _published(files, key) for key in files.wanted}
        if all(names.values()):
            return {key: _fetch(files.folder, name, files.remote[name]) for key, name in names.items() if name}
    raise DataError(
        f"{files.folder} was not found.\n  looked in: {', '.join(map(_state, folders(files.folder)))}\n  to get it: {how_to_get(files)}"
    )


def how_to_get(files: Files) -> str:
    """What a person does to have the files here."""
    names = [_published(files, key) or names[0] for key, names in files.wanted.items()]
    page = files.page or os.path.dirname(next(iter(files.remote.values())).url)
    by_hand = f"put {', '.join(names)} into a folder '{files.folder}' and set SPIKETWIN_DATA to the folder that holds it"
    return by_hand + (", or set SPIKETWIN_DOWNLOAD=1" if files.remote else "") + f" (from {page})"


def _published(files: Files, key: str) -> str | None:
    """The name under which a wanted file can be downloaded."""
    return next((name for name in files.wanted[key] if name in files.remote), None)


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


# -- archives --------------------------------------------------------------------------------------------------


def verify(path: Path, checksum: str) -> None:
    """Compare a file with its published checksum ('md5:…'). Raises DataError that names both."""
    kind, _, expected = checksum.partition(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
    if found != expected:
        raise DataError(
            f"{path} is not the published file, or only a part of it: {kind} {found}, expected {expected} "
            f"({path.stat().st_size} bytes found); fetch it again"
        )


def opened(path: Path, files: Files) -> Path:
    """The file itself, or what a '.zip' or '.gz' holds: unpacked once into the cache, after comparing its checksum.

    For files that are read in places, which an archive does not allow. Raises DataError for a damaged archive.
    """
    if path.suffix not in (".zip", ".gz"):
        return path
    target = cache() / files.folder / path.stem
    if target.is_file():
        return target
    if path.name in files.remote:
        verify(path, files.remote[path.name].checksum)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with gzip.open(path) if path.suffix == ".gz" else zipfile.ZipFile(path).open(path.stem) as packed, part.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
        # only a whole file gets the name that is looked for
        part.replace(target)
    except (EOFError, KeyError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is truncated or damaged: {path.stem} cannot be unpacked from it ({error}); fetch it again") from None
    finally:
        part.unlink(missing_ok=True)
    return target
