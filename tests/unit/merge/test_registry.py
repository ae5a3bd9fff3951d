"""A strategy is written as NAME:PARAMETER=VALUE,...; what cannot be meant is refused with what could be."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from inspect import signature
from pathlib import Path

import numpy as np
import pytest

from git_theta.errors import Exit
from git_theta.merge.registry import BUILT_IN, BadStrategy, Choice, find, names, parse
from git_theta.merge.strategy import Parameter, Strategy, StrategyError
from git_theta.merge.task import Block, Task
from tests.unit.merge.operands import task


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("average", "average"),
        ("average:", "average"),
        (" average : weight = 0.3 ", "average:weight=0.3"),
        ("average:weight=1/2.0/1e-3", "average:weight=1/2/0.001"),
        ("ties:lambda=1,density=0.30", "ties:density=0.3"),
        ("ties:lambda=0.5,density=0.2", "ties:lambda=0.5"),
        ("dare:seed=7,ties=TRUE,rescale=true", "dare:ties=true,seed=7"),
        ("karcher:max_iter=10,tol=0", "karcher:tol=0"),
        ("task-arithmetic:weight=-1/2", "task-arithmetic:weight=-1/2"),
    ],
)
def test_a_choice_has_one_spelling_without_defaults(written: str, canonical: str) -> None:
    choice = parse(written)
    assert choice.text == canonical
    assert parse(choice.text) == choice


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("avrage", "no merge strategy is called 'avrage'", "did you mean average? known: ours, theirs"),
        ("", "no merge strategy is called ''", "known: ours"),
        ("task_arithmetic", "no merge strategy is called 'task_arithmetic'", "did you mean task-arithmetic?"),
        ("ties:densty=1", "ties has no parameter 'densty'", "did you mean density? known: density, weight"),
        ("ours:weight=1", "ours has no parameter 'weight'", "it has none"),
        ("ties:density", "expected density=VALUE once, found 'density'", None),
        ("ties:density=0.1,density=0.2", "expected density=VALUE once, found 'density=0.2'", None),
        ("ties:density=many", "expected density=a number, found 'many'", None),
        ("ties:density=0", r"density is within \(0, 1\], found 0", None),
        ("ties:density=1.01", r"density is within \(0, 1\], found 1.01", None),
        ("ties:lambda=nan", r"lambda is within \(-inf, inf\), found nan", None),
        ("ties:lambda=inf", r"lambda is within \(-inf, inf\), found inf", None),
        ("dare:seed=-1", r"seed is within \[0, inf\), found -1", None),
        ("dare:seed=1.5", "expected seed=a whole number, found '1.5'", None),
        ("dare:ties=yes", "expected ties=true or false, found 'yes'", None),
        ("average:weight=1+2", "expected weight=numbers with / between them, found '1.2'", None),
        ("average:weight=1//2", "expected weight=numbers", None),
        ("average:weight=1/nan", r"weight is within \(-inf, inf\), found 1/nan", None),
        ("average:weight=", "expected weight=numbers", None),
    ],
)
def test_what_cannot_be_meant_is_refused(written: str, message: str, hint: str | None) -> None:
    with pytest.raises(BadStrategy, match=message) as refused:
        parse(written)
    assert refused.value.exit_code == Exit.USAGE
    assert hint is None or (refused.value.hint or "").startswith(hint)


def test_ranges_are_open_and_closed_as_written() -> None:
    inside = {within: [n for n in (0, 0.5, 1) if Parameter("p", 0, "", within=within).allows(n)] for within in
              ("(0, 1)", "[0, 1)", "(0, 1]", "[0, 1]")}  # fmt: skip
    assert inside == {"(0, 1)": [0.5], "[0, 1)": [0, 0.5], "(0, 1]": [0.5, 1], "[0, 1]": [0, 0.5, 1]}


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_strategy_is_found_by_its_name_and_takes_its_parameters(name: str) -> None:
    strategy = find(name)
    assert strategy.name == name
    assert strategy.summary
    assert [p.argument for p in strategy.parameters] == list(signature(strategy.function).parameters)[1:]
    assert strategy.function.__doc__
    for parameter in strategy.parameters:
        if isinstance(parameter.default, int | float):
            assert parameter.allows(parameter.default), parameter.name


def test_the_built_in_strategies_come_first() -> None:
    assert names()[: len(BUILT_IN)] == list(BUILT_IN)


def _leaves(_task: Task) -> Iterator[Block]:
    sys.exit(0)


def _fails(_task: Task) -> Iterator[Block]:
    raise ValueError("boom")


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (_leaves, "SystemExit: 0"),
        (_fails, "ValueError: boom"),
        (lambda _task: None, "TypeError"),
        (lambda _task: iter(["no numbers"]), "ValueError"),
    ],
)
def test_whatever_a_plugin_raises_is_an_error_that_names_it(function: Callable[..., Iterator[Block]], why: str) -> None:
    choice = Choice(Strategy("mine", function, "of somebody else"))
    with pytest.raises(StrategyError, match=f"the strategy mine failed with {why}"):
        list(choice.combine(task(None, [np.zeros(3), np.ones(3)])))


def test_a_strategy_that_makes_too_few_numbers_is_caught() -> None:
    short = Strategy("short", lambda task: (block[:-1] for block in task.models[0].blocks()), "all but the last")
    with pytest.raises(StrategyError, match="short made 2 numbers, expected 3"):
        list(Choice(short).combine(task(None, [[1.0, 2.0, 3.0]] * 2)))


def install(folder: Path, points: str, modules: str) -> None:
    """A package beside us, as an installer leaves it: metadata, and a module."""
    information = folder / "made_up-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[git_theta.merges]\n{points}\n")
    (folder / "made_up.py").write_text(modules)


def test_an_entry_point_that_loads_no_strategy_of_its_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "wrong = made_up:thing\nours = made_up:thing", "thing = 5\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "wrong" in names()
    with pytest.raises(BadStrategy, match="loads 5, expected a Strategy of that name"):
        find("wrong")
    assert find("ours").name == "ours"


def test_the_documentation_has_every_strategy_with_its_parameters_and_defaults() -> None:
    text = (Path(__file__).parents[3] / "docs" / "merging.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| (.*?) \|(.*?)\|", text.split("\n## Strategies\n")[1].split("\n## ")[0], re.MULTILINE)
    said = {name: set(parameters.split()) for strategies, parameters in table for name in strategies.split()}
    for name in BUILT_IN:
        choices = [Choice(find(name), {p.name: p.default}).text.partition(":")[2] for p in find(name).parameters]
        assert said[f"`{name}`"] == {f"`{choice.removesuffix('=None')}`" for choice in choices}, name
