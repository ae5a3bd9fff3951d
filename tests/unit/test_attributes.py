"""Editing .gitattributes: only the pattern's own line changes, and Git reads what was written as it was meant."""

from __future__ import annotations

import subprocess
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_theta.gitio.attributes import (
    BadPattern,
    check_attributes,
    file_pattern,
    filter_of,
    is_tracked,
    matching,
    quote,
    track,
    tracked_patterns,
    untrack,
)

OURS = b"filter=theta diff=theta merge=theta -text"

NASTY_NAMES = [
    "model.pt",
    "my model.pt",
    " leading.pt",
    "trailing.pt ",
    "#hash.pt",
    "!bang.pt",
    '"quoted".pt',
    "back\\slash.pt",
    "star*.pt",
    "quest?.pt",
    "shard[1].pt",
    "[attr]x",
    "tab\there.pt",
    "new\nline.pt",
    "größe.pt",
    "模型 🤖.pt",
]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose user has configured nothing."""
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "global"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "repo"
    subprocess.run(["git", "init", "--quiet", path], check=True)
    return path


@pytest.mark.parametrize("dead", ["*.bias=ours", "two;words", "--x", "-", "=x", "x" * 2100])
def test_a_line_that_git_ignores_says_nothing_and_stays(root: Path, dead: str) -> None:
    text = b"*.pt " + OURS + b" " + dead.encode() + b"\n"
    (root / ".gitattributes").write_bytes(text)
    assert check_attributes(["a.pt"], ["filter"], root)["a.pt"]["filter"] == "unspecified"
    assert tracked_patterns(text) == []
    (root / ".gitattributes").write_bytes(track(text, b"*.pt"))
    assert track(text, b"*.pt") == text + b"*.pt " + OURS + b"\n"
    assert check_attributes(["a.pt"], ["filter"], root)["a.pt"]["filter"] == "theta"


def test_a_line_that_git_would_ignore_is_not_written() -> None:
    for value in (b"average; *.bias=ours", b"x" * 2100):
        for text in (b"", b"*.pt lockable\n"):
            with pytest.raises(BadPattern, match="Git would ignore the line"):
                track(text, b"*.pt", {b"theta-merge": b"theta-merge=" + value})


def test_tracking_in_an_empty_file_writes_one_line() -> None:
    assert track(b"", b"*.pt") == b"*.pt " + OURS + b"\n"


def test_tracking_twice_changes_nothing() -> None:
    once = track(b"# mine\n*.bin lockable\n", b"*.bin")
    assert track(once, b"*.bin") == once


def test_every_other_line_keeps_its_bytes() -> None:
    before = b"# comment \xff\n\n  *.txt\ttext   eol=lf\n[attr]big filter=lfs\n\t\n"
    assert track(before, b"*.pt") == before + b"*.pt " + OURS + b"\n"


def test_a_missing_final_newline_is_added_before_a_new_line() -> None:
    assert track(b"*.txt text", b"*.pt") == b"*.txt text\n*.pt " + OURS + b"\n"


def test_crlf_files_stay_crlf() -> None:
    assert track(b"*.txt text\r\n", b"*.pt") == b"*.txt text\r\n*.pt " + OURS + b"\r\n"
    assert track(b"*.pt lockable\r\n", b"*.pt") == b"*.pt lockable " + OURS + b"\r\n"


def test_other_attributes_of_the_pattern_stay_on_its_line() -> None:
    assert track(b"*.pt lockable text=auto export-ignore\n", b"*.pt") == b"*.pt lockable export-ignore " + OURS + b"\n"


def test_the_last_of_several_lines_of_a_pattern_gets_our_attributes() -> None:
    before = b"*.pt filter=lfs lockable\n*.pt filter=lfs\n"
    assert track(before, b"*.pt") == b"*.pt lockable\n*.pt " + OURS + b"\n"


def test_the_binary_macro_before_our_attributes_does_not_hide_them() -> None:
    assert is_tracked(b"*.pt binary " + OURS + b"\n", b"*.pt")
    assert not is_tracked(b"*.pt " + OURS + b" binary\n", b"*.pt")


def test_a_line_with_only_some_of_our_attributes_is_completed() -> None:
    assert track(b"*.pt filter=theta\n", b"*.pt") == b"*.pt " + OURS + b"\n"


def test_filter_of_is_the_last_one_written() -> None:
    assert filter_of(b"*.pt filter=theta\n*.pt filter=lfs\n", b"*.pt") == b"lfs"
    assert filter_of(b"*.pt filter=lfs\n*.pt -filter\n", b"*.pt") is None
    assert filter_of(b"*.pt filter=lfs\n", b"*.bin") is None


def test_a_quoted_line_is_the_same_pattern_as_its_meaning() -> None:
    assert filter_of(b'"my\\040model.pt" filter=lfs\n', b"my model.pt") == b"lfs"
    assert filter_of(b'"a\\tb\\"c" filter=lfs\n', b'a\tb"c') == b"lfs"


def test_a_broken_quote_is_a_plain_word_as_it_is_to_git() -> None:
    assert filter_of(b'"open filter=lfs\n', b'"open') == b"lfs"


def test_untrack_undoes_track() -> None:
    for before in (b"", b"*.txt text\n", b"*.pt lockable\n", b"*.pt lockable\r\n# end"):
        assert untrack(track(before, b"*.pt"), b"*.pt") == before


def test_untrack_leaves_another_filter_alone() -> None:
    before = b"*.pt filter=lfs diff=lfs merge=lfs -text\n"
    assert untrack(before, b"*.pt") == before


def test_tracked_patterns_are_those_whose_last_word_is_ours() -> None:
    text = b'*.pt filter=theta\n*.bin filter=theta\n*.bin filter=lfs\n"a b" filter=theta\n# *.x filter=theta\n'
    assert tracked_patterns(text) == [b"*.pt", b"a b"]


def test_a_byte_order_mark_is_not_part_of_the_pattern() -> None:
    assert tracked_patterns(b"\xef\xbb\xbf*.pt filter=theta\n") == [b"*.pt"]


def test_a_pattern_longer_than_git_reads_is_refused() -> None:
    with pytest.raises(BadPattern, match="too long"):
        track(b"", b"x" * 2040)


@given(st.binary(min_size=1, max_size=40).filter(lambda p: b"\0" not in p and not p.startswith(b"[attr]")))
def test_any_pattern_is_read_back_as_it_was_written(pattern: bytes) -> None:
    text = track(b"*.txt text\n", pattern)
    assert tracked_patterns(text) == [pattern]
    assert untrack(text, pattern) == b"*.txt text\n"


@given(st.lists(st.sampled_from([b"*.pt filter=lfs\n", b"# x\r\n", b"*.pt -diff lockable\r\n", b"\n", b"*.b a=1\n"])))
def test_tracking_is_idempotent_and_keeps_foreign_lines(lines: list[bytes]) -> None:
    before = b"".join(lines)
    after = track(before, b"*.pt")
    assert is_tracked(after, b"*.pt")
    assert track(after, b"*.pt") == after
    foreign = [line for line in lines if not line.startswith(b"*.pt")]
    kept = [line for line in after.splitlines(keepends=True) if not line.startswith(b"*.pt")]
    assert kept == foreign


@pytest.mark.parametrize("name", NASTY_NAMES)
def test_git_gives_a_nasty_name_to_our_filter_and_no_other_name(root: Path, name: str) -> None:
    (root / ".gitattributes").write_bytes(track(b"", file_pattern(name.encode())))
    answers = check_attributes(NASTY_NAMES, ["filter", "text"], root)
    assert [path for path, found in answers.items() if found["filter"] == "theta"] == [name]
    assert answers[name]["text"] == "unset"


@pytest.mark.parametrize(
    ("pattern", "folder", "expected"),
    [
        (b"*.pt", "", ["a.pt", "sub dir/a.pt", "sub dir/deep/a.pt"]),
        (b"/*.pt", "", ["a.pt"]),
        (b"*.pt", "sub dir", ["sub dir/a.pt", "sub dir/deep/a.pt"]),
        (b"/*.pt", "sub dir", ["sub dir/a.pt"]),
        (b"deep/**", "sub dir", ["sub dir/deep/a.pt"]),
        (b"a.bin", "", []),
    ],
)
def test_matching_answers_as_git_would_from_that_folder(
    root: Path, pattern: bytes, folder: str, expected: list[str]
) -> None:
    paths = ["a.pt", "sub dir/a.pt", "sub dir/deep/a.pt", "other/b.bin"]
    assert matching(pattern, PurePosixPath(folder), paths, root) == expected
    (root / folder).mkdir(exist_ok=True)
    (root / folder / ".gitattributes").write_bytes(track(b"", pattern))
    answers = check_attributes(paths, ["filter"], root)
    assert [path for path, found in answers.items() if found["filter"] == "theta"] == expected


def test_no_paths_ask_nothing(tmp_path: Path) -> None:
    assert check_attributes([], ["filter"], tmp_path) == {}


def test_plain_patterns_are_not_quoted() -> None:
    assert quote("größe/*.pt".encode()) == "größe/*.pt".encode()
    assert quote(b"my model.pt") == b'"my model.pt"'


def test_untracking_takes_the_merge_policy_with_it() -> None:
    text = b"*.pt filter=theta diff=theta merge=theta -text theta-merge=ties\n"
    assert untrack(text, b"*.pt") == b""
