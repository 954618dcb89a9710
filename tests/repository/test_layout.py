"""The repository as a package: which way imports point, what the wheel holds, what the documents promise."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("models", "rules", "experiments")
MAY_IMPORT = {
    "models": {"models"},
    "rules": {"models", "rules"},
    "experiments": {"models", "rules", "experiments"},
}
HEAVY = {"brian2", "torch", "numba"}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


# Imports, read from the source. Nothing is run here.


def imports(node, package, *, lazy=True):
    """Full names imported anywhere below node; with lazy=False only those that run when the module is imported.

    package: the dotted package that relative imports start from.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            parent = package.split(".")[: len(package.split(".")) - child.level + 1] if child.level else []
            base = ".".join([*parent, *([child.module] if child.module else [])])
            # `from spiketwin import rules` names a module, too.
            yield from (f"{base}.{alias.name}" for alias in child.names)
        elif not lazy and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        elif not lazy and isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        else:
            yield from imports(child, package, lazy=lazy)


def faults(source, path):
    """What is wrong with the imports of the file at path (relative to the root), as sentences."""
    folder = path.parts[0]
    package = ".".join(("spiketwin", *path.parent.parts))
    tree = ast.parse(source)
    for name in imports(tree, package):
        first, _, rest = name.partition(".")
        if first in FOLDERS:
            yield f"{path} imports {name}: write spiketwin.{name}"
        part = rest.partition(".")[0]
        if first == "spiketwin" and folder in FOLDERS and part not in MAY_IMPORT[folder]:
            yield f"{path} imports {name}, but dependencies point models <- rules <- experiments"
    if folder == "models" and path.parts[1] != "engines":
        for name in imports(tree, package, lazy=False):
            if name.partition(".")[0] in HEAVY:
                yield f"{path} imports {name} at its top: only models/engines/ may; move it into the function"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/network.py", "from spiketwin.rules import stdp"),
        ("models/network.py", "from spiketwin import rules"),
        ("models/network.py", "def f():\n    import spiketwin.experiments.cli"),
        ("models/engines/brian.py", "from ...rules import stdp"),
        ("rules/stdp.py", "from spiketwin.experiments.cli import main"),
        ("experiments/cli.py", "from models import network"),
        ("tests/test_x.py", "import models.network as n"),
        ("models/network.py", "import torch"),
        ("models/neurons/lif.py", "try:\n    import brian2.units\nexcept ImportError:\n    pass"),
        ("models/discretisation/step.py", "class A:\n    from numba import njit"),
    ],
)
def test_the_check_finds_a_wrong_import(path, source):
    assert list(faults(source, Path(path)))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/network.py", "from .spec import NeuronSpec"),
        ("models/network.py", "def f():\n    import torch"),
        ("models/network.py", "if TYPE_CHECKING:\n    import torch"),
        ("models/engines/torch.py", "import torch"),
        ("rules/stdp.py", "from spiketwin.models import network"),
        ("experiments/cli.py", "from spiketwin import models, rules"),
    ],
)
def test_the_check_admits_a_right_import(path, source):
    assert not list(faults(source, Path(path)))


def test_imports_point_one_way_and_use_full_names():
    files = [path.relative_to(ROOT) for folder in (*FOLDERS, "tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
    assert any(path.parts[0] == "models" for path in files)
    found = [fault for path in files for fault in faults((ROOT / path).read_text(), path)]
    assert not found, "\n".join(found)


def test_importing_the_models_loads_no_heavy_library(tmp_path):
    code = "import sys, spiketwin.models; print(*{name.partition('.')[0] for name in sys.modules})"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    loaded = set(ran.stdout.split())
    assert "spiketwin" in loaded
    assert not loaded & (HEAVY | {"scipy", "sympy", "matplotlib", "sklearn"})


# The wheel.


def shipped():
    """Every file below the three folders that belongs in the wheel, relative to the root."""
    return {
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts  # numba caches there too, in files of its own
        and not any(p.startswith(".") for p in path.parts[len(ROOT.parts) :])
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # In a copy: setuptools would also pack what an earlier build left in build/.
    copy = tmp_path_factory.mktemp("tree")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(copy / "dist"),
        str(copy),
    ]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (path,) = (copy / "dist").glob("*.whl")
    return path


def test_the_wheel_holds_the_tree(wheel):
    held = {name.removeprefix("spiketwin/") for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tree = shipped()
    assert len(tree) > 1
    missing, extra = sorted(tree - held), sorted(held - tree)
    assert not missing, f"not in the wheel (a new kind of file? add it to package-data in pyproject.toml): {missing}"
    assert not extra, f"in the wheel but not in the tree: {extra}"


def test_the_wheel_imports_as_spiketwin(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    # The path comes before the editable install of this checkout.
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import spiketwin.models as m; print(m.__file__)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert Path(ran.stdout.strip()).is_relative_to(tmp_path)


def test_the_command_is_in_the_wheel(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for target in PYPROJECT["project"]["scripts"].values():
        module = target.partition(":")[0].replace(".", "/")
        assert f"{module}.py" in names or f"{module}/__init__.py" in names


# The documents and the pinned versions.


def make_targets():
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_has_what_the_documents_name():
    targets = make_targets()
    assert {
        "demo",
        "test",
        "lint",
        "validate",
        "bench",
        "notebooks",
        "lab",
        "clean",
        "results",
    } <= targets
    for document in ("README.md", "CONTRIBUTING.md", "docs/index.md"):
        text = (ROOT / document).read_text()
        # Commands stand at the start of a line, after a variable, or in backquotes.
        named = set(re.findall(r"(?:^|`|[A-Z_]+=\S+ )make ([a-z][a-z-]*)", text, re.MULTILINE))
        assert named <= targets, f"{document} names make targets that do not exist: {named - targets}"


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_pinned_versions_lie_in_the_stated_ranges():
    project = PYPROJECT["project"]
    wanted = list(project["dependencies"])
    for extra in ("dev", "notebooks", "neo", "sweep", "cluster", "events", "reservoirs"):  # what make installs
        wanted += project["optional-dependencies"][extra]
    pinned = {canonicalize_name(name): version for name, version in pins().items()}
    for requirement in map(Requirement, wanted):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} has no line in constraints.txt"
        assert requirement.specifier.contains(version), f"constraints.txt has {requirement.name} {version}: {requirement}"


def test_one_torch_and_one_version_everywhere():
    assert f"torch=={pins()['torch']}" in (ROOT / "Makefile").read_text()
    assert f"version: {PYPROJECT['project']['version']}\n" in (ROOT / "CITATION.cff").read_text()
