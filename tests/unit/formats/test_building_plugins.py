"""A third-party format takes part in merging as far as it offers functions for it, and none is believed blindly."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from git_theta.formats.building import CannotBuild
from tests.unit.formats.merging import merge

# "TOY!", an epoch, a byte that follows from the values, then groups of four bytes called by a letter.
READER = """
from git_theta.model import Group, Layout, Span

def sniff(source):
    return source.size >= 6 and source.read(0, 4) == b"TOY!"

def scan(source):
    starts = range(7, source.size, 5)
    names = [source.read(start - 1, 1).decode() for start in starts]
    groups = [Group(name, "uint8", (4,)) for name in names]
    return Layout("toy", source.size, tuple(Span(s, 4, (g,)) for s, g in zip(starts, groups)))
"""
LEAVES = """
def leaves(source):
    return {"epoch": source.read(4, 1)[0]}
"""
RESTORE = """
def restore(template, sides, pieces):
    yield 5, bytes([sum((piece.crc or 0) & 0xFF for piece in pieces) & 0xFF])
"""
WRITE = """
def write(sides, pieces, leaves):
    yield b"TOY!" + sides[leaves["epoch"]].frame.read(4, 1) + b"?"
    for piece in pieces:
        yield piece.groups[0].name.encode()
        yield piece
"""
FORGETS = """
def write(sides, pieces, leaves):
    yield b"TOY!??"
"""
SWAPS = """
def write(sides, pieces, leaves):
    yield b"TOY!" + sides[0].frame.read(4, 1) + b"?"
    for piece, other in zip(pieces, reversed(pieces)):
        yield other.groups[0].name.encode()
        yield piece
"""
BREAKS = """
def write(sides, pieces, leaves):
    yield sides[0].frame.read(1000, 1)
"""


@pytest.fixture
def plugin(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real distribution that provides the format ``toy`` with the functions asked for."""
    (tmp_path / "toy_format.py").write_text(READER + "".join(request.param))
    info = tmp_path / "toy-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[git_theta.formats]\ntoy = toy_format\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    sys.modules.pop("toy_format", None)


OURS, THEIRS = b"TOY!\x01?a1111b1111", b"TOY!\x02?a2222b2222c2222"


@pytest.mark.parametrize("plugin", [[]], indirect=True)
def test_a_reader_alone_keeps_the_skeleton_of_one_side(plugin: None) -> None:
    assert merge([OURS, THEIRS], take={"b": 1}, drop=["c"])[0] == b"TOY!\x01?a1111b2222"
    with pytest.raises(CannotBuild, match="structure stays"):
        merge([OURS, THEIRS], drop=["a"])


@pytest.mark.parametrize("plugin", [[LEAVES]], indirect=True)
def test_leaves_choose_whose_skeleton_is_kept(plugin: None) -> None:
    assert merge([OURS, THEIRS[:-5]], take={"epoch": 1})[0] == b"TOY!\x02?a1111b1111"


@pytest.mark.parametrize("plugin", [[RESTORE]], indirect=True)
def test_what_follows_from_the_values_is_restored(plugin: None) -> None:
    data, built = merge([OURS], make={"a": lambda _: b"3333"})
    assert data == b"TOY!\x01" + bytes([(built.pieces[0].crc or 0) & 0xFF]) + b"a3333b1111"


@pytest.mark.parametrize("plugin", [[LEAVES, WRITE]], indirect=True)
def test_a_writer_makes_a_file_of_another_structure(plugin: None) -> None:
    assert merge([OURS, THEIRS], take={"epoch": 1}, drop=["a"])[0] == b"TOY!\x02?b1111c2222"


@pytest.mark.parametrize("plugin", [[FORGETS], [SWAPS], [BREAKS], [LEAVES, SWAPS]], indirect=True)
def test_a_writer_whose_file_says_something_else_is_not_believed(plugin: None) -> None:
    with pytest.raises(CannotBuild):
        merge([OURS, THEIRS], take={"epoch": 1}, drop=["a"])


@pytest.mark.parametrize("plugin", [[LEAVES, WRITE.replace('leaves["epoch"]', "0")]], indirect=True)
def test_a_writer_that_takes_the_wrong_value_is_not_believed(plugin: None) -> None:
    with pytest.raises(CannotBuild, match="values besides tensors"):
        merge([OURS, THEIRS], take={"epoch": 1}, drop=["a"])
