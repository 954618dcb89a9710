"""Learning rules in three engines: one of each kind here, all of them over a minute in the committed result."""

from __future__ import annotations

from spiketwin.experiments import experiment
from spiketwin.experiments.protocol import COMMITTED, load
from spiketwin.experiments.studies.learning_rules.rules_in_engines import BOUND
from spiketwin.rules import RULES


def test_one_rule_of_each_kind_is_equal_in_all_engines():
    found = experiment("rules_in_engines").smoke()
    assert found.mean("rules_equal") == found.mean("rules") == 6
    assert found.mean("differing_spikes") == 0 and found.mean("spikes") > 500
    assert found.mean("fewest_weights_moved") > 10, "most weights must move for this to say anything"


def test_the_committed_result_covers_every_rule():
    """A new rule is in it once `spiketwin run rules_in_engines --publish` has run again."""
    result = load(COMMITTED / "rules_in_engines.json")
    assert result.metrics["rules"]["values"] == [len(RULES)]
    assert result.metrics["rules_equal"]["values"] == [len(RULES)]
    assert 0 < result.mean("largest_difference_torch") <= result.mean("largest_difference") < BOUND
    assert result.mean("differing_spikes") == 0 and result.mean("fewest_weights_moved") > 10, "weights that rest are equal in all engines"
    assert result.config["duration_ms"] >= 60_000
