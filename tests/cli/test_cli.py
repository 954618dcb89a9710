"""The command line as a user meets it: help, lists, errors of one line, Ctrl-C."""

import dataclasses
import re
import signal
import subprocess
import sys
import time

import pytest

from spiketwin.experiments import EXPERIMENTS, cli, experiment
from spiketwin.experiments.protocol import Result, summary
from spiketwin.models.engines import ENGINES
from spiketwin.models.neurons import NEURONS


def run(capsys, *arguments):
    code = cli.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_the_commands(capsys, arguments):
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    for name in cli.COMMANDS:
        assert f"  {name} " in out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(capsys, name):
    code, out, err = run(capsys, name, "--help")
    assert code == 0 and not err
    assert f"spiketwin {name}" in out


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_settings_of_an_experiment_are_its_options(capsys, name):
    code, out, _ = run(capsys, "run", name, "--help")
    assert code == 0
    assert "--seeds" in out and "--smoke" in out
    # a step for each of several signals; or steps of words of one duration, whose share is dt
    assert re.search(r"--(\w+-)?dt-ms", out) or "--steps" in out
    # every field, and what it means
    settings = experiment(name).Config()
    names = [field.name.replace("_", "-") for field in dataclasses.fields(settings)]
    assert not [name for name in names if f"--{name}" not in out and f"--no-{name}" not in out]
    # whoever trains by gradients says how
    assert ("Adam" in out) == any(n.startswith("learning-rate") for n in names)
    assert "Hidden neurons" in out or not hasattr(settings, "hidden")


def test_list_names_everything(capsys):
    from spiketwin.models.discretisation import SCHEMES

    code, out, _ = run(capsys, "list")
    assert code == 0
    for name in (*NEURONS, *SCHEMES, *ENGINES, *EXPERIMENTS):
        assert f"  {name} " in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("lsit",), "Did you mean 'list'?"),
        (("run", "digits"), "Did you mean 'digits_ttfs'?"),
        (("derive", "lift"), "Did you mean 'lif'?"),
        (("derive", "lif", "--scheme", "exac"), "Did you mean 'exact'?"),
        (("derive", "izhikevich", "--scheme", "exact"), "exact integration needs linear equations"),
        (("figure", "zzz"), "Known:"),
        (("script", "ade"), "Did you mean 'adex'?"),
        (("run", "digits_ttfs", "--seeds", "0", "--publish"), "at least 3 seeds"),
        (("run", "digits_ttfs", "--seeds", "1", "1"), "repeated seed"),
        (("run", "digits_ttfs", "--smoke", "--crosscheck"), "--smoke keeps no networks"),
        (("run", "parameter_study_braille", "--crosscheck"), "'parameter_study_braille' offers no trained networks"),
        (("crosscheck", "--model", "lift"), "Did you mean 'lif'?"),
        (("crosscheck", "--scheme", "rk5"), "Did you mean 'rk4'?"),
    ],
)
def test_an_error_is_one_line_and_exit_code_2(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert code == 2 and not out
    assert message in err and err.startswith("spiketwin: ") and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [("derive", "lif", "--bogus"), ("derive",), ("run", "digits_ttfs", "--epochs", "many")])
def test_a_bad_option_is_exit_code_2(capsys, arguments):
    code, _, err = run(capsys, *arguments)
    assert code == 2 and err and "Traceback" not in err


def test_debug_shows_where_an_error_arose(capsys):
    code, _, err = run(capsys, "derive", "lift", "--debug")
    assert code == 2 and "Traceback" in err


def test_derive_prints_the_step_in_each_form(capsys):
    assert "decay_mem" in run(capsys, "derive", "rnn_lif", "--scheme", "exact")[1]
    assert r"\begin{align" in run(capsys, "derive", "rnn_lif", "--latex")[1]
    assert run(capsys, "derive", "rnn_lif", "--source", "torch")[1].startswith("def advance(")


def test_script_writes_a_program(capsys, tmp_path):
    code, out, _ = run(capsys, "script", "lif", "--duration-ms", "50", "--out", str(tmp_path / "cell.py"))
    assert code == 0 and str(tmp_path / "cell.py") in out
    compile((tmp_path / "cell.py").read_text(), "cell.py", "exec")
    assert "import" in (tmp_path / "cell.py").read_text()


def test_run_writes_one_file_per_study(capsys, tmp_path):
    folder = tmp_path / "new"
    options = ["--epochs", "1", "--hidden", "16", "--tmax-ms", "36", "--seeds", "0", "1", "--out", str(folder)]
    code, out, _ = run(capsys, "run", "digits_ttfs", *options)
    assert code == 0
    assert "test accuracy" in out and " ± " in out and "seeds 0 1" in out
    assert sorted(p.name for p in folder.iterdir()) == [
        *(f"checkpoint_{seed}.{ending}" for seed in (0, 1) for ending in ("png", "safetensors")),
        "digits_ttfs.json",
        *(f"weights_{seed}.safetensors" for seed in (0, 1)),
    ]
    # a second call finds everything done, and says the same
    assert run(capsys, "run", "digits_ttfs", *options)[1] == out


def test_ctrl_c_is_exit_code_130_and_leaves_no_half_written_file(tmp_path):
    command = [
        sys.executable,
        "-m",
        "spiketwin.experiments.cli",
        "run",
        "digits_ttfs",
        "--epochs",
        "500",
        "--hidden",
        "8",
        "--out",
        str(tmp_path / "out"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped" in err and "Traceback" not in err
    assert [p.name for p in (tmp_path / "out").iterdir()] in ([], ["checkpoint_0.safetensors"])


def test_start_up_is_light():
    code = "import sys, spiketwin.experiments.cli as c; c.main(['--help']); print(*{n.partition('.')[0] for n in sys.modules})"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(ran.stdout.split()) & {"torch", "brian2", "numba", "sympy", "matplotlib", "sklearn", "scipy"}


def test_a_small_number_is_reported_with_its_digits(capsys, tmp_path):
    """Columns are as wide as the longest name."""
    metrics = {"error": summary([2.56e-13]), "a_name_much_longer_than_most_others": summary([1.0, 3.0])}
    cli._report(Result("some_study", "How small?", {}, (0, 1), metrics).write(tmp_path / "some_study.json"))
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.split() == ["error", "2.6e-13"] and second == "a name much longer than most others  2.00 ± 1.41"
    assert first.index("2.6e-13") == second.index("2.00") and last.endswith("some_study.json; seeds 0 1")
