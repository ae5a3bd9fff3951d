"""Which hooks git-theta has a part in, and what it does there.

The blocks find the program the way Git finds the filter, so they work without PATH, and do nothing in repositories
that never used git-theta: hooks may be shared by all of a user's repositories.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from git_theta.cli.output import warn
from git_theta.gitio.hooks import Part, TrackedHook, put_hooks, remove_hooks, runs_ours
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
if [ -d "$(git rev-parse --git-common-dir)/theta" ]; then
  theta_pushed=$(cat)
  if [ -n "$theta_pushed" ]; then
    if theta=$(git config filter.theta.process); then
      printf '%s\\n' "$theta_pushed" | eval "${theta% filter-process} pre-push \\"\\$@\\"" || exit 1
    else
      echo 'git-theta: its filters are not configured, so objects may be missing on the remote; nothing was pushed' >&2
      echo 'hint: git theta install' >&2
      echo "hint: if this repository no longer needs git-theta, delete its lines in $0" >&2
      exit 1
    fi
    exec <<GIT_THETA_PUSHED
$theta_pushed
GIT_THETA_PUSHED
  fi
fi
"""

# git-lfs puts its hooks only where there are none, and says nothing where ours came first.
_FOR_GIT_LFS = """\
if [ -d "$(git rev-parse --git-common-dir)/lfs" ] && command -v git-lfs >/dev/null; then
  git lfs {name} "$@" || exit
fi
"""

HOOKS: dict[str, Part] = {
    name: Part(lines, _FOR_GIT_LFS.format(name=name))
    for name, lines in (("pre-push", _SEND), ("post-checkout", _WRITE_PENDING), ("post-merge", _WRITE_PENDING))
}
"""Hook name to our part in it."""


def ensure_hooks(repository: Repository) -> None:
    """Put our part into the repository's hooks where it is not; a fresh clone has none. Never a reason to fail.

    Only a push without us does harm, so only that one is spoken of: every time, until it is mended.
    """
    with contextlib.suppress(OSError):  # a repository that cannot be written cannot lose anything either
        ours(repository).mkdir(parents=True, exist_ok=True)
    refused = put_hooks(repository.hooks, HOOKS, ours(repository)).refused.get("pre-push")
    if isinstance(refused, TrackedHook):
        warn(
            f"{refused}, and git push will not send objects",
            f"{refused.hint}\nuntil then: git theta push, before git push",
        )
    elif refused:
        warn(
            f"{repository.hooks / 'pre-push'}: {refused}; git push will not send objects",
            "until that is mended: git theta push, before git push",
        )


def drop_hooks(repository: Repository) -> None:
    """Take our part out of the repository's hooks."""
    remove_hooks(repository.hooks, HOOKS, ours(repository))


def silent_push(repository: Repository) -> str | None:
    """Why plain git push sends no objects and what to do about it, on one line; None where it sends them."""
    hook = repository.hooks / "pre-push"
    if runs_ours(hook):
        return None
    if not repository.hooks.is_dir() and repository.hooks != repository.common_dir / "hooks":
        fault, cure = (
            f"core.hooksPath, {repository.hooks}, is no folder",
            "unset core.hooksPath, then git theta install",
        )
    elif hook.exists():
        fault, cure = f"{hook} does not call git-theta", 'git theta install, or add to it: git theta pre-push "$@"'
    else:
        fault, cure = f"there is no {hook}", "git theta install"
    return f"git push will not send objects, because {fault}: {cure}; or before each git push: git theta push"


def ours(repository: Repository) -> Path:
    """Where our part lies for hooks that call it; the folder above it marks repositories that use git-theta."""
    return repository.common_dir / "theta" / "hooks"
