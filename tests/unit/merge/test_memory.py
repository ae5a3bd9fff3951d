"""What was chosen for a conflict comes back for the same conflict, and nothing else does."""

from __future__ import annotations

from pathlib import Path

from git_theta.merge.decide import Decision, Held, decide
from git_theta.merge.memory import Memory
from tests.unit.merge.test_plan import held


def decision(*values: int, name: str = "w") -> Decision[Held]:
    base, *versions = (held(value, name=name) for value in values)
    (found,) = decide({name: base}, [{name: version} for version in versions])
    return found


def test_the_same_versions_are_remembered(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "theta" / "memory.sqlite", "model.pt", None)
    assert memory.recall(decision(1, 2, 3)) is None
    memory.note([(decision(1, 2, 3), "ours")])
    assert memory.recall(decision(1, 2, 3)) == "ours"
    assert memory.recall(decision(1, 3, 2)) is None
    assert memory.recall(decision(1, 2, 3, name="v")) is None
    memory.note([(decision(1, 2, 3), "average")])
    assert memory.recall(decision(1, 2, 3)) == "average"


def test_during_a_series_the_group_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "memory.sqlite"
    Memory(file, "model.pt", "rebase 1").note([(decision(1, 2, 3), "theirs")])
    assert Memory(file, "model.pt", "rebase 1").recall(decision(4, 5, 6)) == "theirs"
    assert Memory(file, "other.pt", "rebase 1").recall(decision(4, 5, 6)) is None
    assert Memory(file, "model.pt", "rebase 2").recall(decision(4, 5, 6)) is None
    assert Memory(file, "model.pt", None).recall(decision(4, 5, 6)) is None


def test_a_database_that_is_none_forgets(tmp_path: Path) -> None:
    file = tmp_path / "memory.sqlite"
    file.write_bytes(b"no database at all, but long enough to be taken for one" * 100)
    memory = Memory(file, "model.pt", None)
    memory.note([(decision(1, 2, 3), "ours")])
    assert memory.recall(decision(1, 2, 3)) is None
