"""The documentation says what the program does: every command, option, setting and exit code is in docs/cli.md, and
every command that any document names exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from git_theta.cli.commands import COMMANDS, EXIT_CODES, SECTIONS, CommandTable, group
from git_theta.errors import Exit
from git_theta.formats.registry import FORMATS
from git_theta.gitio.config import SETTINGS
from git_theta.merge.registry import BUILT_IN

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS += sorted((ROOT / "docs" / "man").glob("*.1"))
CLI = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")

NO_COMMANDS = {"is", "has", "and", "command"}
"""Words that follow "git theta" in a sentence."""


def section(command: str) -> str:
    """What docs/cli.md says of one command."""
    found = re.search(rf"^### `git theta {command}`\n(.*?)(?=^##)", CLI, re.MULTILINE | re.DOTALL)
    assert found, f"docs/cli.md has no section ### `git theta {command}`"
    return found[1]


def table(title: str) -> list[list[str]]:
    """The cells of the first table below a heading of docs/cli.md, without its header."""
    below = CLI.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (.*) \|$", below, re.MULTILINE)[1:]
    return [row.split(" | ") for row in rows]


def load(name: str) -> click.Command:
    assert isinstance(group, CommandTable)
    command = group.get_command(click.Context(group), name)
    assert command
    return command


@pytest.mark.parametrize("title", SECTIONS)
def test_the_man_page_lists_the_commands_of_each_section(title: str) -> None:
    page = (ROOT / "docs" / "man" / "git-theta.1").read_text(encoding="utf-8")
    listed = re.search(rf"^\.B {title}\n(.*?)(?=^\.)", page, re.MULTILINE | re.DOTALL)
    assert listed, f"the man page has no paragraph {title!r}"
    assert listed[1].replace(",", "").split() == list(SECTIONS[title])


def options() -> Iterator[tuple[str, str]]:
    for name in COMMANDS:
        for parameter in load(name).params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                yield from ((name, option) for option in parameter.opts)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_section_with_its_synopsis_and_a_link_to_it(command: str) -> None:
    assert f"\ngit theta {command}" in section(command)
    assert f"[{command}](#git-theta-{command})" in CLI


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_in_its_synopsis(command: str) -> None:
    synopsis = section(command).split("```")[1]
    lacking = [
        parameter.opts
        for parameter in load(command).params
        if isinstance(parameter, click.Option)
        and not parameter.hidden
        and not any(re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", synopsis) for option in parameter.opts)
    ]
    assert lacking == [] or "[OPTIONS]" in synopsis


def test_every_built_in_strategy_is_in_the_table_and_the_readme_counts_them() -> None:
    merging = (ROOT / "docs" / "merging.md").read_text(encoding="utf-8").split("\n## Strategies\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", merging, re.MULTILINE)
    assert [name for cell in cells for name in re.findall(r"`(.+?)`", cell)] == list(BUILT_IN)
    counted = re.findall(r"(\d+) strategies", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert counted == [str(len(BUILT_IN))]


def test_no_section_is_about_a_command_that_is_gone() -> None:
    assert set(re.findall(r"^### `git theta (\S+)`$", CLI, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize(("command", "option"), list(options()))
def test_every_option_is_explained_in_its_commands_section(command: str, option: str) -> None:
    assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", section(command))


def test_every_option_in_a_section_exists() -> None:
    for command in COMMANDS:
        mentioned = re.findall(r"^\| `.*", section(command), re.MULTILINE)
        named = {option for row in mentioned for option in re.findall(r"`(-[\w-]+)", row.split(" | ")[0])}
        assert named <= {option for name, option in options() if name == command}, command


def test_every_exit_code_is_in_the_table_with_its_meaning() -> None:
    assert {int(code): meaning for code, meaning in table("Exit codes")} == {
        int(code): meaning for code, meaning in EXIT_CODES.items()
    }
    assert set(EXIT_CODES) == set(Exit)


def test_every_setting_is_in_the_table_with_its_type_and_variable() -> None:
    documented = {cells[0]: (cells[1], cells[3]) for cells in table("Settings")}
    assert documented == {f"`{one.name}`": (one.kind, f"`{one.variable}`") for one in SETTINGS}


def test_the_attribute_and_every_format_name_are_documented() -> None:
    formats = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
    assert "`theta-format=NAME`" in CLI
    assert [name for name in [*FORMATS, "opaque"] if f"`{name}`" not in formats] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_a_document_names_exists(document: Path) -> None:
    named = re.findall(r"git[ -]theta ([a-z][a-z-]*)", document.read_text(encoding="utf-8"))
    assert {name for name in named if name not in NO_COMMANDS} - set(COMMANDS) - {"manifest"} == set()


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if path.suffix == ".md"], ids=lambda path: path.name)
def test_every_link_between_documents_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", document.read_text(encoding="utf-8")):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("path", sorted((ROOT / "git_theta").rglob("*.py")), ids=lambda path: path.name)
def test_every_command_a_message_or_hint_names_exists(path: Path) -> None:
    named = re.findall(r"git theta ([a-z][a-z-]+)", path.read_text(encoding="utf-8"))
    assert {name for name in named if name not in NO_COMMANDS} - set(COMMANDS) == set()
