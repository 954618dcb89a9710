"""What the README shows is so: its code runs, its tables are those of the registries, its links lead somewhere."""

import re
from pathlib import Path

import pytest

from spiketwin.experiments import readme_table
from spiketwin.models.neurons import NEURONS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/index.md")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_code_runs_and_prints_what_it_says(capsys):
    code = "".join(blocks("python"))
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    # what print(…) gives is written behind it, up to a colon if words follow
    promised = re.findall(r"^print\(.*\)  # ([^:\n]+)", code, re.MULTILINE)
    assert len(promised) == code.count("\nprint(") > 0
    assert capsys.readouterr().out.splitlines() == promised


def test_the_first_screen_has_a_picture_ten_lines_of_code_and_two_commands():
    first = README.partition("\n## ")[0]
    assert "](docs/readme.png)" in first
    (code,) = re.findall(r"```python\n(.*?)```", first, re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 10
    assert re.findall(r"^make (\w+)", first, re.MULTILINE) == ["demo", "test"]


def test_the_tables_are_those_of_the_registries():
    assert not readme_table.is_stale(), "run: python -m spiketwin.experiments.readme_table"
    assert all(f"[`{name}`](docs/models/{name}.png)" in README for name in NEURONS)


def test_a_table_without_its_marks_is_an_error():
    with pytest.raises(ValueError, match="0 tables between <!-- models -->"):
        readme_table.render(README.replace("<!-- end of models -->", ""))


@pytest.mark.parametrize("page", PAGES)
def test_links_and_named_files_exist(page):
    path = ROOT / page
    text = path.read_text()
    targets = [t for t in re.findall(r"\]\(([^)#]+)", text) if "://" not in t]
    missing = [t for t in targets if not (path.parent / t).exists()]
    assert not missing, f"{page} links to what is not there: {missing}"
    named = re.findall(r"`((?:models|rules|experiments|notebooks|tests|docs|benchmarks)/[\w./]+\.\w+)`", text)
    missing = [t for t in named if not (ROOT / t).exists()]
    assert not missing, f"{page} names what is not there: {missing}"
