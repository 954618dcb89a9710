"""The table of rules: engines are what the code can do."""

from __future__ import annotations

import pytest

from spiketwin.models.engines import base, get_engine
from spiketwin.rules import RULES, rule, table
from spiketwin.rules.local import LOCAL_RULES, local_rule


def test_engines_are_those_that_have_nothing_against_a_rule(monkeypatch):
    assert all(table.engines(made) == ("brian", "torch", "compiled") for made in RULES.values())
    assert table.engines_of_neuron_rule("intrinsic") == ("brian", "torch", "compiled", "scipy")
    assert all(table.engines_of_local_rule(local_rule(name)) == ("torch",) for name in LOCAL_RULES)
    # an engine that refuses it is not listed
    compiled = type(get_engine("compiled"))
    monkeypatch.setattr(compiled, "unsupported", lambda self, network, scheme: ["not today"])
    assert table.engines(rule("pair_additive").with_parameters(eta=0.5)) == ("brian", "torch")


def test_the_listing_has_every_rule_with_its_engines():
    lines = table.listing()
    for name, made in RULES.items():
        (line,) = [x for x in lines if x.split()[:1] == [name]]
        assert "brian, torch, compiled" in line and made.source in line
    for name in LOCAL_RULES:
        (line,) = [x for x in lines if x.split("  ")[1:2] == [name]]
        assert line.split("  ")[-1].strip() == local_rule(name).source and " torch " in line
    assert any("Normalisation(total)" in x for x in lines)
    assert any(x.split()[:1] == ["intrinsic"] and "Triesch" in x for x in lines)


def test_rules_in_full():
    assert any(line.split() == ["engines", "brian,", "torch,", "compiled"] for line in table.in_full(rule("clopath")))
    lines = "\n".join(table.neuron_rule_in_full("intrinsic"))
    assert "dtheta_ip/dt = -step_ip*rho_ip" in lines and "rate that the threshold keeps" in lines and "brian, torch" in lines
    with pytest.raises(ValueError, match="'intrinsic' is a rule of neurons: call intrinsic"):
        rule("intrinsic")
    assert base.ENGINES[0] == "brian"


@pytest.mark.parametrize("name", LOCAL_RULES)
def test_local_rules_in_full(name):
    lines = table.local_rule_in_full(name)
    made = local_rule(name)
    assert lines[0] == f"{name}: {made.name} ({made.source})" and lines[-1].split() == ["engines", "torch"]
    assert any(line.startswith("Source: ") for line in lines)
    assert f"{'third factor':<28}{made.locality.third}" in lines
