"""What is varied: fields of an experiment's Config, each over values or a range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from spiketwin.models.spec import unknown

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class SweepError(ValueError):
    """A sweep cannot be done as asked. The message names what is wrong and the fix."""


@dataclass(frozen=True)
class Values:
    """These values, in this order."""

    options: tuple[Any, ...]

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.options)

    def as_json(self) -> list:
        return list(self.options)


@dataclass(frozen=True)
class Range:
    """Everything from low to high, whole numbers if both are; log: evenly in the logarithm."""

    low: float
    high: float
    log: bool = False

    def distribution(self) -> BaseDistribution:
        from optuna.distributions import FloatDistribution, IntDistribution

        kind = IntDistribution if isinstance(self.low, int) else FloatDistribution
        return kind(self.low, self.high, log=self.log)

    def as_json(self) -> dict[str, float | bool]:
        return asdict(self)


Axis = Values | Range


def axes(config: Any, varied: Mapping[str, Axis | Sequence[Any] | str] | Sequence[str]) -> dict[str, Axis]:
    """Field -> Values or Range, checked against the fields of the Config dataclass.

    varied: field -> Values, Range, a sequence of values, or text; or texts such as 'hidden=50,100', 'learning_rate=1e-4..1e-2'
    and 'learning_rate=1e-4..1e-2:log'.
    Raises SweepError for an unknown field, no values, a value given twice or of another type than the field.
    """
    if not isinstance(varied, Mapping):
        varied = _split(varied)
    if not varied:
        raise SweepError("nothing is varied; name a field and its values, e.g. --vary learning_rate=1e-4,1e-3")
    hints, owner = get_type_hints(type(config)), type(config).__module__.rpartition(".")[2]
    found: dict[str, Axis] = {}
    for name, axis in varied.items():
        if name not in asdict(config):
            raise SweepError(unknown(name, "setting", owner, asdict(config)))
        found[name] = _axis(name, axis, hints[name])
    return found


def _split(texts: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if not equals:
            raise SweepError(f"'{text}' does not say what to vary; write FIELD=VALUE,VALUE,… or FIELD=LOW..HIGH")
        if name in found:
            raise SweepError(f"'{name}' is varied twice; give all its values at once")
        found[name] = values
    return found


def _axis(name: str, axis: Axis | Sequence[Any] | str, hint: Any) -> Axis:
    if isinstance(axis, str) and ".." in axis:
        span, colon, kind = axis.partition(":")
        if colon and kind != "log":
            raise SweepError(f"'{name}={axis}' is no range; write {name}=LOW..HIGH or {name}=LOW..HIGH:log")
        low, _, high = span.partition("..")
        axis = Range(_read(name, low, hint), _read(name, high, hint), log=bool(colon))
    if isinstance(axis, Range):
        return _checked_range(name, Range(_fitting(name, axis.low, hint), _fitting(name, axis.high, hint), axis.log))
    if isinstance(axis, str):
        options = [_read(name, word, hint) for word in axis.split(",") if word.strip()]
    else:
        options = [_fitting(name, value, hint) for value in (axis.options if isinstance(axis, Values) else axis)]
    if not options:
        raise SweepError(f"no values for '{name}'; give at least one")
    if repeated := [value for k, value in enumerate(options) if value in options[:k]]:
        raise SweepError(f"{repeated[0]} is given twice for '{name}'; give each value once")
    return Values(tuple(options))


def _checked_range(name: str, axis: Range) -> Range:
    if isinstance(axis.low, bool | str | NoneType):
        raise SweepError(f"'{name}' has no range; give its values, e.g. {name}={axis.low},{axis.high}")
    if not (math.isfinite(axis.low) and math.isfinite(axis.high) and axis.low < axis.high):
        raise SweepError(f"the range of '{name}' from {axis.low} to {axis.high} is empty; put the lower end first")
    if axis.log and axis.low <= 0:
        raise SweepError(f"the range of '{name}' starts at {axis.low}, which has no logarithm; start above 0 or leave out :log")
    return axis


def _kinds(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    # True is an int to Python, not to a person
    return type(value) is kind or (kind is float and type(value) is int)


def _fitting(name: str, value: Any, hint: Any) -> Any:
    """The value as the field holds it: a float for 1 where the field is a float."""
    if not any(_fits(value, kind) for kind in _kinds(hint)):
        raise SweepError(f"{value!r} does not fit '{name}', which is {_wording(hint)}")
    return float(value) if type(value) is int and not any(_fits(value, k) for k in _kinds(hint) if k is not float) else value


def _read(name: str, text: str, hint: Any) -> Any:
    text = text.strip()
    for kind in _kinds(hint):
        try:
            if kind in (int, float, str):
                return kind(text)
        except ValueError:
            continue
        words = {"true": True, "false": False} if kind is bool else {"none": None} if kind is NoneType else {}
        words |= {str(option): option for option in get_args(kind)} if get_origin(kind) is Literal else {}
        if text in words or text.lower() in words:
            return words.get(text, words.get(text.lower()))
    raise SweepError(f"'{text}' does not fit '{name}', which is {_wording(hint)}")


def _wording(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "none"}
    return " or ".join(names.get(kind) or " or ".join(map(repr, get_args(kind))) or str(kind) for kind in _kinds(hint))
