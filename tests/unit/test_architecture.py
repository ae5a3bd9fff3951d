"""The floors of the house: imports point down only, and only the command line meets the outside world.

The source is read, never imported, so an import inside a function counts like one at the top. Imports for the
type checker alone count too: a room that knows another room's types depends on it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import git_theta

PACKAGE = Path(git_theta.__file__).parent

FLOORS = [
    {"collector", "errors", "globs", "model"},
    {"formats", "codecs", "updates", "manifest", "store", "gitio"},
    {"tensors", "lfs"},
    {"filters", "merge", "diff", "lineage", "migrate"},
    {"cli"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

FRAMEWORKS = {"torch", "tensorflow", "jax", "flax", "transformers", "pickle", "cloudpickle", "dill", "joblib"}
PEOPLE_FACING = {"click", "rich"}
OUTSIDE_WORLD = {("os", "environ"), ("os", "getenv"), ("os", "putenv"), ("sys", "exit"), ("sys", "argv")}
OUTSIDE_WORLD |= {("sys", "stdout"), ("sys", "stderr"), ("sys", "stdin")}
DANGEROUS_CALLS = {"eval", "exec", "__import__"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """``git_theta/store/disk.py`` is in store; a module beside the rooms is a room of its own."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that a module imports, by its full name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            yield module
            if module == "git_theta":
                yield from (f"git_theta.{alias.name}" for alias in node.names)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def upward(room: str, tree: ast.AST) -> list[str]:
    """Imports from ``room`` that do not point down: to a higher floor, or to another room of the same one."""
    found = []
    for module in imports(tree):
        parts = module.split(".")
        if parts[0] != "git_theta" or len(parts) == 1 or parts[1] not in FLOOR_OF or parts[1] == room:
            continue
        if FLOOR_OF[parts[1]] >= FLOOR_OF[room]:
            found.append(module)
    return found


@pytest.mark.parametrize("path", [p for p in MODULES if p.parent != PACKAGE or p.stem != "__init__"], ids=name)
def test_imports_point_down(path: Path) -> None:
    assert room_of(path) in FLOOR_OF, f"{name(path)} is in a room that is on no floor"
    assert upward(room_of(path), parse(path)) == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_no_module_imports_a_framework_or_a_pickle_reader(path: Path) -> None:
    assert {module.split(".")[0] for module in imports(parse(path))} & FRAMEWORKS == set()


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_nothing_executes_text(path: Path) -> None:
    calls = [node.func for node in ast.walk(parse(path)) if isinstance(node, ast.Call)]
    assert {call.id for call in calls if isinstance(call, ast.Name)} & DANGEROUS_CALLS == set()


# Passes the environment on to Git, less what belongs to one repository; decides nothing by it.
PASSES_ON = PACKAGE / "gitio" / "process.py"


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(p) != "cli" and p != PASSES_ON], ids=name)
def test_only_the_command_line_reads_the_environment_prints_or_exits(path: Path) -> None:
    tree = parse(path)
    touched = [
        (node.value.id, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    ]
    assert set(touched) & OUTSIDE_WORLD == set()
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert named & {"print", "input", "SystemExit"} == set()
    assert {module.split(".")[0] for module in imports(tree)} & PEOPLE_FACING == set()


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_opens_with_what_it_is_for(path: Path) -> None:
    docstring = ast.get_docstring(parse(path))
    assert docstring
    assert len(docstring.split()) >= 5, f"{name(path)} needs a sentence, not {docstring!r}"


def test_the_guard_sees_upward_sideways_and_hidden_imports() -> None:
    source = (
        "from git_theta.cli import main\ndef f():\n    import git_theta.codecs\nfrom git_theta import store, errors\n"
    )
    assert upward("store", ast.parse(source)) == ["git_theta.cli", "git_theta.codecs"]
    assert upward("tensors", ast.parse(source)) == ["git_theta.cli"]
    assert upward("cli", ast.parse(source)) == []
