"""`spiketwin data`: what there is, what is here, and how to get the rest."""

import subprocess
import sys

import pytest

from spiketwin.experiments import cli
from spiketwin.experiments.data import DATASETS, folders


@pytest.fixture
def listed(capsys, monkeypatch, tmp_path):
    """The command's output on a machine that holds the Braille letters and nothing else: name -> lines below it."""
    monkeypatch.setenv("SPIKETWIN_DATA", str(tmp_path))
    monkeypatch.setattr(folders, "cache", lambda: tmp_path / "cache")
    (tmp_path / "braille").mkdir()
    (tmp_path / "braille" / "tutorial5_braille_spiking_data.pkl.gz").touch()
    assert cli.main(["data"]) == 0
    out, err = capsys.readouterr()
    assert not err
    found, lines = {}, []
    for line in out.splitlines():
        if line.startswith(" "):
            lines.append(line.strip())
        else:
            lines = found[line] = []
    return found


def test_each_set_has_its_size_split_and_place(listed, tmp_path):
    assert list(listed) == list(DATASETS)
    for name, (size, split, place) in listed.items():
        assert size == DATASETS[name].size and split == f"split: {DATASETS[name].split}" and place
    assert listed["digits"][2] == "comes with scikit-learn" and listed["randman"][2] == "generated"
    assert listed["braille"][2] == f"found in {tmp_path / 'braille'}"
    assert listed["cifar-10"][2].startswith("not found; put cifar-10-binary.tar.gz into a folder 'cifar-10' and set SPIKETWIN_DATA")
    # no published checksum, so no download is offered
    assert "SPIKETWIN_DOWNLOAD=1" not in listed["fsdd"][2] and "github.com/Jakobovski" in listed["fsdd"][2]


def test_listing_loads_no_heavy_library():
    code = (
        "import sys, spiketwin.experiments.cli as c; c.main(['data']); print(*{n.partition('.')[0] for n in sys.modules}, file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(ran.stderr.split()) & {"torch", "brian2", "numba", "h5py", "tonic", "sklearn"}
