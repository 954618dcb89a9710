"""Lists the packages: models, rules, experiments and every folder below them that holds Python.

Everything else is in pyproject.toml, which has no way to find packages below a new name.
"""

from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent


FOLDERS = ("models", "rules", "experiments")


def packages():
    # The three are always listed: an editable install maps them once, also while one is still empty.
    found = {f"spiketwin.{name}" for name in FOLDERS}
    for name in FOLDERS:
        for path in (ROOT / name).rglob("*.py"):
            found.add(".".join(("spiketwin", *path.parent.relative_to(ROOT).parts)))
    return sorted(found)


setup(packages=packages())
