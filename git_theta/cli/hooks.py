"""Which hooks git-theta has a part in, and what it does there.

The blocks find the program the way Git finds the filter, so they work without PATH and do nothing where
git-theta was uninstalled or the repository holds nothing of it.
"""

from __future__ import annotations

import contextlib

from git_theta.gitio.hooks import put_hooks
from git_theta.gitio.repository import Repository

PENDING = "theta-pending"
"""In a worktree's Git folder: smudge left a placeholder for a file too large for Git's memory."""

_WRITE_PENDING = f"""\
if [ -e "$(git rev-parse --git-dir)/{PENDING}" ]; then
  theta=$(git config filter.theta.process) && eval "${{theta% filter-process}} checkout --pending" || :
fi
"""

# Whoever comes after us in the same hook reads the same standard input.
_SEND = """\
if [ -d "$(git rev-parse --git-common-dir)/theta" ] || git config theta.storage >/dev/null; then
  theta_pushed=$(cat)
  if theta=$(git config filter.theta.process); then
    printf '%s\\n' "$theta_pushed" | eval "${theta% filter-process} pre-push \\"\\$@\\"" || exit 1
  else
    echo 'git-theta: its filters are not configured, so objects may be missing on the remote' >&2
    echo 'hint: git theta install, or push with --no-verify' >&2
    exit 1
  fi
  exec <<GIT_THETA_PUSHED
$theta_pushed
GIT_THETA_PUSHED
fi
"""

HOOKS: dict[str, str] = {
    "pre-push": _SEND,
    "post-checkout": _WRITE_PENDING,
    "post-merge": _WRITE_PENDING,
}
"""Hook name to the lines of ours in it."""


def ensure_hooks(repository: Repository) -> None:
    """Put our part into the repository's hooks where it is not; a fresh clone has none. Never a reason to fail."""
    with contextlib.suppress(OSError):
        put_hooks(repository.hooks, HOOKS)
