"""How libraries are imported that cannot be imported as they are."""

from __future__ import annotations

import importlib.util
import sys


def import_bindsnet() -> None:
    """Make `import bindsnet.network` (learning, encoding, models) work without torchvision, OpenCV and Atari.

    bindsnet/__init__.py imports its data sets, game environments and plots, which need those; the simulator does not. So
    the package is entered without running that file: its sub-modules are BindsNET's own, unchanged.
    """
    if "bindsnet" not in sys.modules:
        spec = importlib.util.find_spec("bindsnet")
        if spec is None:
            raise ModuleNotFoundError("bindsnet is not installed; make bench installs it from benchmarks/requirements.txt")
        spec.loader = None
        sys.modules["bindsnet"] = importlib.util.module_from_spec(spec)
