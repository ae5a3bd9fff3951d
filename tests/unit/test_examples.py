"""The examples run as they are, and do what their documents say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from git_theta.formats import BytesSource, MalformedCheckpoint, check_layout, scan
from git_theta.merge.registry import BadStrategy, names, parse
from git_theta.model import Group, Span
from tests.unit.merge.operands import merge, task

EXAMPLES = Path(__file__).parents[2] / "examples"
PLUGIN = EXAMPLES / "format_plugin"
STRATEGY = EXAMPLES / "merge_plugin"


def test_the_training_loop_commits_each_epoch_at_the_cost_of_the_head(tmp_path: Path) -> None:
    (tmp_path / ".gitconfig").write_text("[user]\n\tname = Test\n\temail = test@example.com\n")
    settings = {"HOME": str(tmp_path), "GIT_CONFIG_GLOBAL": str(tmp_path / ".gitconfig"), "GIT_CONFIG_NOSYSTEM": "1"}
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    said = subprocess.run(
        [sys.executable, EXAMPLES / "training_loop.py", tmp_path / "run"],
        env={**{k: v for k, v in os.environ.items() if not k.startswith("GIT_")}, **settings, "PATH": path},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert said.count("commit ") == 4
    assert "3 groups" in said
    assert "2 changed, 1 unchanged" in said
    assert "is back: " in said
    objects = [file.stat().st_size for file in (tmp_path / "run/.git/theta/objects").rglob("*") if file.is_file()]
    assert sum(objects) < 2 * 64 * 1024 * 4, "the frozen part must be stored once"


@pytest.fixture
def plugin() -> ModuleType:
    """The example's module, loaded from its folder."""
    specification = spec_from_file_location("git_theta_idx", PLUGIN / "git_theta_idx.py")
    assert specification
    assert specification.loader
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def idx(array: NDArray[Any], code: int) -> bytes:
    """An IDX file."""
    sides = b"".join(side.to_bytes(4, "big") for side in array.shape)
    return bytes([0, 0, code, array.ndim]) + sides + array.tobytes()


def test_the_plugin_finds_the_array_and_its_layout_holds(plugin: ModuleType) -> None:
    content = idx(np.arange(24, dtype=">f4").reshape(2, 3, 4), 13)
    assert plugin.sniff(BytesSource(content))
    layout = check_layout(plugin.scan(BytesSource(content)), len(content))
    assert (layout.format, layout.spans) == ("idx", (Span(16, 96, (Group("array", "float32_be", (2, 3, 4)),)),))


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\0\0\x0d\0", b"\0\0\x07\1\0\0\0\1x", b"PK\3\4"])
def test_the_plugin_passes_over_what_is_not_of_its_format(plugin: ModuleType, content: bytes) -> None:
    assert not plugin.sniff(BytesSource(content))


@pytest.mark.parametrize("length", [6, 8, 26, 28])
def test_the_plugin_refuses_an_array_that_does_not_fill_the_file(plugin: ModuleType, length: int) -> None:
    content = (idx(np.zeros((3, 5), "u1"), 8) + b"x")[:length]
    assert plugin.sniff(BytesSource(content))
    with pytest.raises(MalformedCheckpoint):
        plugin.scan(BytesSource(content))


def install(package: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What pip would make of the package, made by hand: its metadata and its module on the path."""
    project = (package / "pyproject.toml").read_text(encoding="utf-8")
    name = re.search(r'^name = "(.+)"$', project, re.MULTILINE)
    point = re.search(r'^\[project.entry-points."([\w.]+)"\]\n(\w+) = "([\w:]+)"$', project, re.MULTILINE)
    assert name
    assert point
    information = folder / f"{name[1].replace('-', '_')}-0.1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name[1]}\nVersion: 0.1.0\n")
    (information / "entry_points.txt").write_text(f"[{point[1]}]\n{point[2]} = {point[3]}\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.syspath_prepend(package)


def test_an_installed_plugin_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(PLUGIN, tmp_path, monkeypatch)
    content = idx(np.zeros((3, 5), "u1"), 8)
    found = scan(BytesSource(content))
    assert (found.layout.format, found.warning) == ("idx", None)
    assert scan(BytesSource(content + b"x")).layout.format == "opaque"


def test_an_installed_strategy_is_found_by_its_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadStrategy):
        parse("median")
    install(STRATEGY, tmp_path, monkeypatch)
    assert "median" in names()
    given = task([1.0, 1.0, 1.0], [[1.0, 9.0, 2.0], [5.0, 7.0, 0.0]])
    assert merge("median", given).tolist() == [1.0, 7.0, 1.0]
    assert merge("median:base=false", given).tolist() == [3.0, 8.0, 1.0]
    assert parse("median:base=true").text == "median"
