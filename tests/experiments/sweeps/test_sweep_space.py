"""What can be varied, and what a grid and a sampler try next."""

from dataclasses import dataclass
from typing import Literal

import pytest

from spiketwin.experiments.studies.gradients.digits_ttfs import Config as Digits
from spiketwin.experiments.sweeps import Grid, Range, Sampler, SweepError, Values, axes


@dataclass(frozen=True)
class Config:
    hidden: int = 4
    rate: float = 0.1
    recurrent: bool = False
    scheme: str = "exact"
    kind: Literal["count", "membrane"] = "count"
    clip: float | None = None


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("hidden=50,100", Values((50, 100))),
        ("rate=1,1e-3", Values((1.0, 1e-3))),
        ("recurrent=true,false", Values((True, False))),
        ("scheme=exact,euler", Values(("exact", "euler"))),
        ("kind=membrane", Values(("membrane",))),
        ("clip=none,1", Values((None, 1.0))),
        ("hidden=5..20", Range(5, 20)),
        ("rate=1e-4..1e-2:log", Range(1e-4, 1e-2, log=True)),
        ("rate=0..1", Range(0.0, 1.0)),
    ],
)
def test_text_becomes_values_of_the_type_of_the_field(text, axis):
    (name,) = found = axes(Config(), [text])
    assert found[name] == axis and name == text.partition("=")[0]
    if isinstance(axis, Values):
        assert [type(v) for v in found[name].options] == [type(v) for v in axis.options]
    else:
        assert type(found[name].low) is type(axis.low)


def test_fields_keep_the_order_they_were_named_in_and_dashes_are_underscores():
    assert list(axes(Digits(), ["tau-mem-ms=10,20", "hidden=3"])) == ["tau_mem_ms", "hidden"]


def test_python_values_are_taken_too():
    assert axes(Config(), {"rate": [1, 2.5], "hidden": (3,), "clip": Values((None,)), "scheme": "euler"}) == {
        "rate": Values((1.0, 2.5)),
        "hidden": Values((3,)),
        "clip": Values((None,)),
        "scheme": Values(("euler",)),
    }


@pytest.mark.parametrize(
    ("varied", "message"),
    [
        (["hiden=3"], "unknown setting 'hiden'.*Did you mean 'hidden'"),
        ([], "nothing is varied"),
        (["hidden"], "does not say what to vary"),
        (["hidden="], "no values for 'hidden'"),
        ({"hidden": ()}, "no values for 'hidden'"),
        (["hidden=3", "hidden=4"], "varied twice"),
        (["hidden=3,4,3"], "3 is given twice"),
        (["hidden=3.5"], "'3.5' does not fit 'hidden', which is a whole number"),
        ({"hidden": [True]}, "True does not fit 'hidden'"),
        ({"rate": ["fast"]}, "'fast' does not fit 'rate', which is a number"),
        (["recurrent=maybe"], "true or false"),
        (["kind=last"], "'count' or 'membrane'"),
        (["clip=much"], "a number or none"),
        (["rate=1..1"], "is empty"),
        (["rate=2..1"], "put the lower end first"),
        (["rate=0..1:log"], "no logarithm"),
        (["rate=0..1:lin"], "is no range"),
        (["scheme=a..b"], "has no range"),
    ],
)
def test_bad_input_is_named(varied, message):
    with pytest.raises(SweepError, match=message):
        axes(Config(), varied)


def test_a_grid_walks_every_combination_once():
    grid = Grid(axes(Config(), {"hidden": (1, 2), "rate": (0.5, 0.25, 0.125)}))
    seen = []
    while (point := grid.next(seen, [])) is not None:
        seen.append(point)
    assert [tuple(p.values()) for p in seen] == [(1, 0.5), (1, 0.25), (1, 0.125), (2, 0.5), (2, 0.25), (2, 0.125)]
    assert len(grid) == 6
    # one that was killed is free again, wherever it stands
    assert grid.next(seen[:2] + seen[3:], [seen[2]]) == seen[2]


def test_a_sampler_first_repeats_what_was_killed():
    sampler = Sampler(axes(Config(), ["rate=0..1"]), trials=3)
    assert sampler.next([{"rate": 0.1}], []) == {}
    assert sampler.next([{"rate": 0.1}], [{"rate": 0.7}]) == {"rate": 0.7}
    assert sampler.next([{"rate": 0.1}, {"rate": 0.7}], [{"rate": 0.7}]) == {}
    assert sampler.next([{"rate": r} for r in (0.1, 0.2, 0.3)], []) is None


def test_a_grid_of_a_range_and_no_trials_are_refused():
    with pytest.raises(SweepError, match="a grid needs values of 'rate'"):
        Grid(axes(Config(), ["rate=0..1"]))
    with pytest.raises(SweepError, match="trials = 0"):
        Sampler(axes(Config(), ["rate=0..1"]), trials=0)
