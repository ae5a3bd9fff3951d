"""What commands say on stderr."""

from __future__ import annotations

import errno

import pytest

from git_theta.cli.output import remedy


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EFBIG, "make room"),
        (errno.ENOENT, "mend that"),
        (errno.EACCES, "mend that"),
    ],
)
def test_room_is_asked_for_only_where_it_is_missing(number: int, advice: str) -> None:
    assert remedy(OSError(number, "so")) == f"{advice}, then repeat the command"
