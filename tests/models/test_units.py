"""Units: factors to SI, dimensions of expressions, and messages that name the mistake."""

from __future__ import annotations

import pytest

from spiketwin.models.units import (
    BASE,
    COMPOUND,
    UnitError,
    dimension_of,
    identifiers,
    quantity,
    unit,
)


@pytest.mark.parametrize(
    ("text", "factor", "si"),
    [
        ("ms", 1e-3, "second"),
        ("mV", 1e-3, "volt"),
        ("Mohm", 1e6, "ohm"),
        ("1/ms", 1e3, "hertz"),
        ("mV/ms", 1.0, "volt/second"),
        ("uF/cm**2", 1e-2, "farad/metre**2"),
        ("mS/cm^2", 10.0, "siemens/metre**2"),
        ("uA/cm**2", 1e-2, "amp/metre**2"),
        ("amp/metre**2", 1.0, "amp/metre**2"),
        ("A/m**2", 1.0, "amp/metre**2"),
        ("second**-0.5", 1.0, "second**-0.5"),
        ("1", 1.0, "1"),
    ],
)
def test_unit(text, factor, si):
    found, dimension = unit(text)
    assert found == pytest.approx(factor)
    assert str(dimension) == si


@pytest.mark.parametrize("text", [*BASE, *COMPOUND, "nS/mV", "metre*second", "kilogram"])
def test_printed_units_read_back(text):
    dimension = unit(text)[1]
    assert unit(str(dimension)) == (1.0, dimension)


def test_printed_units_are_brian2s():
    from brian2.equations.equations import dimensions_and_type_from_string

    for text in (*BASE, *COMPOUND, "nS/mV"):
        dimension = dimensions_and_type_from_string(str(unit(text)[1]))[0]
        exponents = [float(e) for e in unit(text)[1]]
        assert [float(dimension.get_dimension(n)) for n in ("m", "kg", "s", "A")] == exponents, text


@pytest.mark.parametrize("text", ["foo", "m V", "mV**x", "", "mV+", "2*mV"])
def test_what_is_no_unit(text):
    with pytest.raises(UnitError, match="unit"):
        unit(text)


def test_quantity():
    assert quantity("20 ms") == (0.02, BASE["second"])
    assert quantity("-65mV")[0] == pytest.approx(-0.065)
    assert quantity(3)[0] == 3.0
    with pytest.raises(UnitError, match="'fast' is not a quantity; write a number and a unit"):
        quantity("fast")


KNOWN = {"v": BASE["volt"], "i_syn": BASE["amp"], "r": BASE["ohm"], "tau": BASE["second"], "n": BASE["1"]}


@pytest.mark.parametrize(
    ("expression", "si"),
    [
        ("(v + r*i_syn)/tau", "volt/second"),
        ("0 - v", "volt"),
        ("v**2/mV", "volt"),
        ("sqrt(2/tau)", "second**-0.5"),
        ("n*exp(v/(2*mV))", "1"),
        ("clip(v, 0, 30*mV)", "volt"),
    ],
)
def test_dimension_of_an_expression(expression, si):
    assert str(dimension_of(expression, KNOWN)) == si


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("v + i_syn", "a sum joins volt and amp"),
        ("exp(v)", r"exp\(\) takes a dimensionless argument, got volt"),
        ("v**tau", "exponent 'tau' has unit second"),
        ("v > tau", "a comparison joins volt and second"),
        ("v +", "is not an expression"),
    ],
)
def test_unlike_quantities(expression, message):
    with pytest.raises(UnitError, match=message):
        dimension_of(expression, KNOWN)


def test_identifiers_leave_units_and_functions_out():
    assert identifiers("r*i_syn + 2*mV*exp(v/mV)") == {"r", "i_syn", "v"}


def test_a_unit_to_a_power_that_is_no_number_is_refused():
    with pytest.raises(UnitError, match="write the exponent as a number"):
        dimension_of("v**(a/a)", {"v": BASE["volt"], "a": BASE["amp"]})
