"""The course of the learning rate, by hand."""

import pytest

from spiketwin.experiments.training import DECAYS, Constant, Cosine, Schedule, Steps, WarmUp


def rates(decay, batches):
    schedule = Schedule(epochs=1, batch_size=1, learning_rate=2.0, decay=decay)
    return [schedule.rate(k, batches) for k in range(batches)]


def test_a_constant_rate_stays():
    assert rates(Constant(), 3) == [2.0, 2.0, 2.0]


def test_a_cosine_falls_to_zero():
    # (1 + cos(pi k / 4)) / 2 at k = 0 … 3: 1, (1 + sqrt(1/2)) / 2, 1/2, (1 - sqrt(1/2)) / 2
    assert rates(Cosine(), 4) == pytest.approx([2.0, 1 + 0.5**0.5, 1.0, 1 - 0.5**0.5])
    assert Cosine()(4, 4) == pytest.approx(0.0)


def test_steps_multiply_at_shares_of_the_run():
    assert rates(Steps(at=(0.5, 0.75), factor=0.1), 8) == pytest.approx([2.0] * 4 + [0.2] * 2 + [0.02] * 2)


def test_a_warm_up_rises_in_equal_steps_and_then_follows_the_other():
    # a quarter of 16 batches rises: 1/4 2/4 3/4 1, then the 12 others as if they were the whole run
    warm = rates(WarmUp(0.25, Cosine()), 16)
    assert warm[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert warm[4:] == pytest.approx(rates(Cosine(), 12))
    assert rates(WarmUp(0.25, Steps((0.5,), 0.1)), 8) == pytest.approx([1.0, 2.0, 2.0, 2.0, 2.0, 0.2, 0.2, 0.2])


@pytest.mark.parametrize("name", DECAYS)
def test_every_named_course_stays_between_zero_and_the_start(name):
    course = rates(DECAYS[name], 40)
    assert max(course) == pytest.approx(2.0) and min(course) >= 0
    assert (name == "constant") == (course[-1] == course[20])


def test_true_and_false_stand_for_cosine_and_constant():
    assert Schedule(1, 1, 1.0, True) == Schedule(1, 1, 1.0, Cosine())
    assert Schedule(1, 1, 1.0, False) == Schedule(1, 1, 1.0, Constant())


def test_a_checkpoint_tells_schedules_apart():
    assert Schedule(1, 1, 1.0, Constant()).settings() != Schedule(1, 1, 1.0, Cosine()).settings()
    assert Schedule(1, 1, 1.0, WarmUp(0.1)).settings() != Schedule(1, 1, 1.0, WarmUp(0.2)).settings()


@pytest.mark.parametrize("name", ["epochs", "batch_size", "learning_rate", "clip_norm", "patience"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_numbers_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name} = {value} must be positive"):
        Schedule(**{"epochs": 1, "batch_size": 1, "learning_rate": 1.0, name: value})


def test_shares_out_of_range_are_named():
    with pytest.raises(ValueError, match="share = 1.5"):
        WarmUp(1.5)
    with pytest.raises(ValueError, match="shares of the run"):
        Steps((0.5, 2.0))
