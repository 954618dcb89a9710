"""What every test may rely on: quiet figures, one thread per worker, numpy code in Brian2, data or a skip."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent

# All of this is read when the libraries are first imported, so it is set before any test module is.
os.environ.setdefault("MPLBACKEND", "Agg")
# Compiled kernels survive from run to run, apart from the user's own and out of the source folders.
os.environ.setdefault("SPIKETWIN_CACHE", str(ROOT / ".cache" / "spiketwin"))
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / ".cache" / "numba"))
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers already fill the cores; with more threads each, torch and BLAS slow each other down.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")

# No deadline: the first example pays for imports and compilation.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(autouse=True)
def brian_without_compiler():
    """Brian2's numpy target, so that results and times do not depend on a compiler being there.

    Does not import brian2: a test that needs it imports it at the top of its file.
    """
    if "brian2" in sys.modules:
        sys.modules["brian2"].prefs.codegen.target = "numpy"


@pytest.fixture(scope="session")
def data_dir():
    """data_dir("fashion-mnist") is the folder of that data set; the test is skipped where there is none."""

    def folder(name):
        root = os.environ.get("SPIKETWIN_DATA")
        if not root:
            pytest.skip(f"{name} is needed: SPIKETWIN_DATA names no folder that holds {name}/")
        path = Path(root) / name
        if not path.is_dir() or not any(path.iterdir()):
            pytest.skip(f"{name} is needed: there is nothing in {path} (SPIKETWIN_DATA is {root})")
        return path

    return folder
