"""Braille letters: a pickle that is read without being run."""

import datetime
import gzip
import os
import pickle

import numpy as np
import pytest

from spiketwin.experiments.data import DataError, braille, load
from spiketwin.experiments.data.unpickle import unpickle


def letters(frames=4):
    """All 1,350 samples; each signal's first value tells letter and repetition; some are a frame longer."""
    samples = []
    for c, letter in enumerate(braille.LETTERS):
        for repetition in range(braille.REPETITIONS):
            signal = np.full((frames + repetition % 2, braille.TAXELS), 255.0)
            signal[0, 0], signal[0, 1] = c, repetition
            samples.append({"experiment_name": "braille_letters", "letter": letter, "repetition": repetition, "taxel_data": signal})
    return samples


@pytest.fixture
def published(machine):
    """published(content) writes the gzipped pickle and gives its path."""
    path = machine / "braille" / "tutorial5_braille_spiking_data.pkl.gz"
    path.parent.mkdir()

    def write(content):
        path.write_bytes(gzip.compress(content if isinstance(content, bytes) else pickle.dumps(content, protocol=4), 1))
        return path

    return write


def test_the_parts_are_disjoint_complete_and_have_each_letter_in_equal_shares(published):
    content = letters()
    published(content[::-1])
    found = load("braille")
    parts = (found.train, found.validation, found.test)
    assert [len(p) for p in parts] == [945, 135, 270] and found.inputs == 12
    for part, share in zip(parts, (35, 5, 10)):
        assert np.bincount(part.labels).tolist() == [share] * 27
        assert set(part.frames) == {4}
        assert all(part.signal(b)[0, 0] == part.labels[b] for b in range(len(part)))
    seen = {tuple(p.signal(b)[0, :2]) for p in parts for b in range(len(p))}
    assert seen == {(c, r) for c in range(27) for r in range(50)}
    assert found.train.batch(slice(0, 2), dt_ms=5.0).shape == (20, 2, 12)  # 4 frames of 25 ms


class Runs:
    """Pickled, it calls a function when it is opened."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.mkdir, ("{}",), r"\w+\.mkdir"),
        (eval, ("__import__('os').mkdir('{}')",), r"builtins\.eval"),
        (np.load, ("{}",), r"numpy\.load"),
        (getattr, (np, "load"), r"builtins\.getattr"),
        (datetime.date, (2022, 1, 1), r"datetime\.date"),
    ],
)
def test_a_pickle_that_wants_to_run_something_is_refused_before_it_does(published, tmp_path, function, arguments, name):
    trap = tmp_path / "trap"
    content = letters()
    content[7]["taxel_data"] = Runs(function, *(a.format(trap) if isinstance(a, str) else a for a in arguments))
    if arguments[0] is np:
        content[7]["taxel_data"] = Runs(function, "numpy", "load")
    path = published(content)
    with pytest.raises(DataError, match=rf"wants to use {name}; a data file may hold only numpy arrays and plain containers") as caught:
        load("braille")
    assert str(path) in str(caught.value) and not trap.exists()


def test_the_trap_is_real(tmp_path):
    """What is refused above does happen with pickle itself."""
    pickle.loads(pickle.dumps(Runs(os.mkdir, str(tmp_path / "trap"))))
    assert (tmp_path / "trap").is_dir()


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_arrays_and_containers_are_read_as_they_were(protocol):
    held = {"a": [np.arange(6, dtype="<f8").reshape(2, 3), (1, None, "x")], "b": {"c": np.array([True, False])}}
    if protocol == 2:
        held = {"c": (1, None, "x", [2.5])}  # protocol 2 writes bytes, and so arrays, by calling codecs.encode
    found = unpickle(pickle.dumps(held, protocol=protocol), "file")
    assert str(found) == str(held)


def test_an_array_of_foreign_byte_order_leaves_numpy_as_it_is():
    found = unpickle(pickle.dumps(np.array([1.0, 2.0], dtype=">f8"), protocol=4), "file")
    assert found.tolist() == [1, 2]
    assert np.dtype("f8").isnative and np.arange(2.0).tobytes() == np.array([0, 1], dtype="=f8").tobytes()


REBUILD = np.empty(0).__reduce__()[0]


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (np.array(["a", None], dtype=object), "it holds an array of object, not of numbers"),
        (np.array(["a"]), "it holds an array of .*, not of numbers"),
        (Runs(np.ndarray, (1,), "f8", b"12345678"), "TypeError"),
        (Runs(REBUILD, np.dtype, (1,), b"b"), "as if it were an array"),
    ],
)
def test_names_that_are_admitted_do_nothing_but_rebuild_arrays_of_numbers(held, message):
    with pytest.raises(DataError, match=f"some.pkl is no whole pickle of arrays .*({message})"):
        unpickle(pickle.dumps(held, protocol=4), "some.pkl")


@pytest.mark.parametrize("raw", [b"", b"nonsense", pickle.dumps(list(range(1000)))[:-7], b"\x80\x04.", b"(lp0\nI1\n"])
def test_a_damaged_pickle_is_named(raw):
    with pytest.raises(DataError, match=r"some\.pkl is no whole pickle of arrays"):
        unpickle(raw, "some.pkl")


def changed(index, **change):
    content = letters()
    content[index] = content[index] | change
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: letters()[:-1], r"found 1349 samples of 27 letters; the first that is missing is Z 49"),
        (lambda: letters() + letters()[:1], r"found 1351 samples"),
        (lambda: changed(50, letter="Å"), r"found 1350 samples of 28 letters; the first that is missing is A 0"),
        (lambda: changed(0, taxel_data=np.zeros((4, 11))), r"Space 0 must be numbers \[frames, 12\], found float64 \[4, 11\]"),
        (lambda: changed(1, taxel_data=[1, 2]), r"Space 1 must be numbers \[frames, 12\], found list"),
        (lambda: changed(2, taxel_data=np.full((4, 12), np.nan)), r"Space 2 is empty or holds values that are not numbers"),
        (lambda: {"letters": 1}, r"is not the published list of samples"),
        (lambda: [{"letter": "A"}], r"is not the published list of samples"),
    ],
)
def test_content_that_is_not_whole_is_named(published, content, message):
    path = published(content())
    with pytest.raises(DataError, match=message) as caught:
        load("braille")
    assert str(path) in str(caught.value)


def test_a_truncated_archive_is_named(published):
    path = published(letters())
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"pkl\.gz is truncated or damaged"):
        load("braille")


def test_the_published_file_is_read(data_dir):
    data_dir("braille")
    found = load("braille")
    assert [len(p) for p in (found.train, found.validation, found.test)] == [945, 135, 270]
    # 76 frames at 40 Hz are 1.9 s
    batch = found.test.batch(slice(0, 10), dt_ms=25.0)
    assert batch.shape == (76, 10, 12) and np.array_equal(batch[:, 3], found.test.signal(3))
    assert 0 <= found.train.values.min() < 100 and found.train.values.max() == 255
    # four of the twelve taxels ever move; the others must not become NaN
    scaled = found.test.standardised(by=found.train).values
    moving = [1, 2, 6, 10]
    assert scaled[:, moving].mean(axis=0) == pytest.approx([0] * 4, abs=0.1)
    assert scaled[:, moving].std(axis=0) == pytest.approx([1] * 4, abs=0.1)
    assert not np.delete(scaled, moving, axis=1).any()
