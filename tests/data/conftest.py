"""A machine with a data folder of its own, and nothing else."""

import pytest

from spiketwin.experiments.data import folders


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """The empty folder that SPIKETWIN_DATA names; the cache lies beside it, and nothing may be fetched unasked."""
    root = tmp_path / "data"
    root.mkdir()
    monkeypatch.setenv("SPIKETWIN_DATA", str(root))
    monkeypatch.delenv("SPIKETWIN_DOWNLOAD", raising=False)
    monkeypatch.setattr(folders, "cache", lambda: tmp_path / "cache")
    return root
