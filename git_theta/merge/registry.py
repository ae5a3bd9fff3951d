"""Which strategies there are, and how one is chosen: ``ties:density=0.3,lambda=1`` enters, a :class:`Choice` leaves.

The table names the module of each built-in strategy; it is imported when it is asked for. Further ones come by the
entry point ``git_theta.merges``: the entry point's name is the strategy's, and it loads a :class:`Strategy`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module

import numpy as np

from git_theta.errors import Exit, ThetaError
from git_theta.merge.strategy import Kind, Parameter, Strategy, StrategyError, Value
from git_theta.merge.task import Block, Task

BUILT_IN: dict[str, str] = {
    "ours": "simple",
    "theirs": "simple",
    "base": "simple",
    "average": "simple",
    "linear": "simple",
    "task-arithmetic": "arithmetic",
    "ties": "arithmetic",
    "dare": "arithmetic",
    "della": "arithmetic",
    "breadcrumbs": "arithmetic",
    "slerp": "spherical",
    "nuslerp": "spherical",
    "multislerp": "spherical",
    "karcher": "spherical",
    "model-stock": "spherical",
    "nearswap": "selective",
    "sce": "selective",
    "arcee-fusion": "selective",
    "fisher": "fisher",
}
"""Name to module of :mod:`git_theta.merge.strategies`, whose ``STRATEGIES`` has it."""

STOP = "conflict"
"""What stands in a strategy's place for deciding nothing."""

GROUP = "git_theta.merges"


class BadStrategy(ThetaError):
    """A text that says no strategy, or not how to use it."""

    exit_code = Exit.USAGE


@dataclass(frozen=True, slots=True)
class Choice:
    """A strategy, and the parameters that differ from its defaults."""

    strategy: Strategy
    params: dict[str, Value] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The one spelling that :func:`parse` reads as this choice: defaults left out, in the strategy's order."""
        said = [f"{p.name}={_spell(self.params[p.name])}" for p in self.strategy.parameters if p.name in self.params]
        return f"{self.strategy.name}:{','.join(said)}" if said else self.strategy.name

    def combine(self, task: Task) -> Iterator[Block]:
        """The merged numbers. Infinities and NaN go the way IEEE 754 says, without a warning.

        Raises :class:`~git_theta.errors.ThetaError` from the strategy and from whoever reads the operands; whatever
        else a plug-in raises becomes one.
        """
        arguments = {p.argument: self.params.get(p.name, p.default) for p in self.strategy.parameters}
        blocks: Iterator[Block] | None = None
        made = 0
        while True:
            try:
                with np.errstate(all="ignore"):  # not around the yield: there the caller's own setting must stand
                    blocks = blocks if blocks is not None else iter(self.strategy.function(task, **arguments))
                    block = next(blocks, None)
                    block = block if block is None else np.ravel(np.asarray(block, np.float64))
            except (ThetaError, OSError, MemoryError, KeyboardInterrupt):
                raise
            except BaseException as error:  # a plug-in may even try to exit
                if self.strategy.function.__module__.startswith("git_theta."):
                    raise
                why = f"{type(error).__name__}: {error}"
                raise StrategyError(f"{task.name}: the strategy {self.strategy.name} failed with {why}") from error
            if block is None:
                break
            made += len(block)
            yield block
        if made != task.count:
            raise StrategyError(f"{task.name}: {self.strategy.name} made {made:,} numbers, expected {task.count:,}")


def names() -> list[str]:
    """All strategies, the built-in ones first."""
    return [*BUILT_IN, *sorted(_plugins().keys() - BUILT_IN.keys())]


def find(name: str) -> Strategy:
    """The strategy of this name; raises :class:`BadStrategy` with the nearest ones."""
    if name in BUILT_IN:
        strategies: tuple[Strategy, ...] = import_module(f"git_theta.merge.strategies.{BUILT_IN[name]}").STRATEGIES
        return next(strategy for strategy in strategies if strategy.name == name)
    plugins = _plugins()
    if name not in plugins:
        raise BadStrategy(f"no merge strategy is called {name!r}", hint=_nearest(name, [*names(), STOP]))
    try:
        strategy = plugins[name]()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise BadStrategy(
            f"the strategy {name} cannot be loaded: {type(error).__name__}: {error}",
            hint=f"mend or remove the package that brings it (entry point {name} of {GROUP})",
        ) from error
    if not isinstance(strategy, Strategy) or strategy.name != name:
        raise BadStrategy(f"the entry point {name!r} of {GROUP} loads {strategy!r}, expected a Strategy of that name")
    return strategy


def parse(text: str) -> Choice:
    """The choice written as ``NAME`` or ``NAME:PARAMETER=VALUE,...``; raises :class:`BadStrategy` with the reason."""
    name, _, said = text.partition(":")
    name = name.strip()
    strategy = find(name)
    known = {parameter.name: parameter for parameter in strategy.parameters}
    params: dict[str, Value] = {}
    for part in filter(None, said.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key not in known:
            raise BadStrategy(f"{name} has no parameter {key!r}", hint=_nearest(key, list(known)))
        if not equals or key in params:
            raise BadStrategy(f"{name}: expected {key}=VALUE once, found {part!r}")
        params[key] = _read(name, known[key], value)
    return Choice(strategy, {key: value for key, value in params.items() if value != known[key].default})


def _plugins() -> dict[str, Callable[[], object]]:
    from importlib.metadata import entry_points

    return {point.name: point.load for point in entry_points(group=GROUP)}


def _nearest(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    return (f"did you mean {near[0]}? " if near else "") + (f"known: {', '.join(known)}" if known else "it has none")


def _switch(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


_READERS: dict[Kind, tuple[Callable[[str], Value], str]] = {
    "number": (float, "a number"),
    "count": (int, "a whole number"),
    "switch": (_switch, "true or false"),
    "weights": (lambda text: tuple(float(part) for part in text.split("/")), "numbers with / between them"),
}


def _read(strategy: str, parameter: Parameter, text: str) -> Value:
    reader, expected = _READERS[parameter.kind]
    try:
        value = reader(text)
    except (ValueError, KeyError):
        raise BadStrategy(f"{strategy}: expected {parameter.name}={expected}, found {text!r}") from None
    numbers = value if isinstance(value, tuple) else (value,) if value is not None else ()
    if not all(parameter.allows(number) for number in numbers):
        raise BadStrategy(f"{strategy}: {parameter.name} is within {parameter.within}, found {text}")
    return value


def _spell(value: Value) -> str:
    if isinstance(value, tuple):
        return "/".join(_spell(number) for number in value)
    return str(value).lower() if isinstance(value, bool) else repr(value).removesuffix(".0")
