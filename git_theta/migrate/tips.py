"""Whether a new history means what was asked: its tree enters, the files whose filter is another one leave."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from git_theta.gitio.matcher import Matcher
from git_theta.gitio.process import ask_git


def filters_at(root: Path, commit: str, matcher: Matcher, scratch: Path) -> dict[str, str]:
    """The filter Git would give each file of ``commit`` that a pattern matches, by its own attributes files."""
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tip-", dir=scratch) as folder:
        index = Path(folder) / "index"
        ask_git("read-tree", commit, cwd=root, index=index)
        listed = ask_git("ls-files", "--stage", "-z", cwd=root, index=index).split(b"\0")[:-1]
        paths = [line.split(b"\t", 1)[1] for line in listed if line.startswith(b"100")]
        question = b"".join(path + b"\0" for path in paths if matcher.matching(path))
        answer = ask_git("check-attr", "--cached", "-z", "--stdin", "filter", cwd=root, index=index, stdin=question)
    words = os.fsdecode(answer).split("\0")
    return dict(zip(words[0::3], words[2::3], strict=False))
