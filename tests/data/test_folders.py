"""Files found, fetched with their checksums, unpacked once; and archives that are damaged."""

import gzip
import hashlib
import http.server
import threading
import zipfile
from functools import partial

import pytest

from spiketwin.experiments.data import DATASETS, DataError, folders
from spiketwin.experiments.data.folders import Files, Remote, find, locate, opened, verify

CONTENT = b"the published file"
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()


@pytest.fixture
def publisher(tmp_path):
    """An address at which the files of a folder can be fetched, and that folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    folder = tmp_path / "published"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


def files(url, checksum=MD5):
    return Files("set", {"one": ("one.bin", "one.txt")}, {"one.txt": Remote(f"{url}/one.txt", checksum)})


def test_a_missing_file_is_fetched_when_that_is_asked_for(machine, publisher, monkeypatch):
    url, folder = publisher
    (folder / "one.txt").write_bytes(CONTENT)
    with pytest.raises(DataError, match=r"put one\.txt into a folder 'set' .* or set SPIKETWIN_DOWNLOAD=1 \(from http"):
        locate(files(url))
    path = locate(files(url), download=True)["one"]
    assert path.read_bytes() == CONTENT and path.parent == folders.cache() / "set"
    # from then on it is found, also when nobody asks for a download
    (folder / "one.txt").unlink()
    assert locate(files(url))["one"] == path
    path.unlink()
    (folder / "one.txt").write_bytes(CONTENT)
    monkeypatch.setenv("SPIKETWIN_DOWNLOAD", "1")
    assert locate(files(url))["one"] == path


def test_what_is_fetched_must_be_what_was_published(machine, publisher):
    url, folder = publisher
    (folder / "one.txt").write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=r"one\.txt is not the published file"):
        locate(files(url), download=True)
    assert not list(folders.cache().rglob("*.txt")) and find(files(url)) is None


def test_a_file_without_a_published_checksum_is_not_fetched(machine):
    with pytest.raises(DataError, match=r"put one\.bin into a folder 'set' and set SPIKETWIN_DATA to .* \(from http://page\)") as caught:
        locate(Files("set", {"one": ("one.bin",)}, page="http://page"), download=True)
    assert "SPIKETWIN_DOWNLOAD" not in str(caught.value)


def test_the_data_folder_comes_before_the_cache(machine):
    for root in (machine, folders.cache()):
        (root / "set").mkdir(parents=True)
        (root / "set" / "one.txt").write_bytes(CONTENT)
    assert find(files("http://x"))["one"].parent == machine / "set"


def test_a_checksum_that_differs_is_named_with_both(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    verify(path, MD5)
    path.write_bytes(CONTENT[:5])
    with pytest.raises(DataError, match=rf"{path} is not the published file, or only a part of it: md5 \w+, expected {MD5[4:]} \(5 bytes"):
        verify(path, MD5)


def packed(path):
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(CONTENT))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(path.stem, CONTENT)
    return Files("set", {}, {path.name: Remote("http://x/" + path.name, "md5:" + hashlib.md5(path.read_bytes()).hexdigest())})


@pytest.mark.parametrize("name", ["events.h5.gz", "events.h5.zip"])
def test_an_archive_is_unpacked_once_into_the_cache(machine, name):
    known = packed(machine / name)
    path = opened(machine / name, known)
    assert path == folders.cache() / "set" / "events.h5" and path.read_bytes() == CONTENT
    when = path.stat().st_mtime_ns
    assert opened(machine / name, known) == path and path.stat().st_mtime_ns == when
    assert opened(path, known) == path


@pytest.mark.parametrize("name", ["events.h5.gz", "events.h5.zip"])
def test_a_damaged_archive_leaves_nothing_behind(machine, name):
    known = packed(machine / name)
    (machine / name).write_bytes((machine / name).read_bytes()[:-10])
    with pytest.raises(DataError, match=f"{name} is not the published file, or only a part"):
        opened(machine / name, known)
    with pytest.raises(DataError, match=f"{name} is truncated or damaged"):
        opened(machine / name, Files("set", {}))
    assert not [p for p in folders.cache().rglob("*") if p.is_file()]


@pytest.mark.parametrize("name", [n for n, entry in DATASETS.items() if entry.files])
def test_a_machine_without_data_is_told_how_to_get_each_set(machine, name):
    wanted = DATASETS[name].files
    assert DATASETS[name].whereabouts().startswith("not found; put ")
    for remote in wanted.remote.values():
        kind, _, digest = remote.checksum.partition(":")
        assert kind == "md5" and len(digest) == 32 and set(digest) <= set("0123456789abcdef")
        assert remote.url.startswith("http")
    (machine / wanted.folder).mkdir()
    for names in wanted.wanted.values():
        (machine / wanted.folder / names[-1]).touch()
    assert DATASETS[name].whereabouts() == f"found in {machine / wanted.folder}"
