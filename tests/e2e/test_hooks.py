"""Our part in hooks beside everybody else's: all run, all see the same stdin, uninstall leaves theirs as they were."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e.conftest import GitRepo
from tests.e2e.lfs_server import Host
from tests.e2e.support import MODEL, checkpoint, is_manifest
from tests.e2e.transfer import attempt, bare, change, check_whole, clone, oids, start, there

# Each notes its arguments and its standard input; the other languages run through the interpreter that is there.
SHELL = "#!/bin/sh\nprintf '%s\\n' \"$@\" >arguments\ncat >seen\n"
STYLES: Mapping[str, str] = {
    "shell": SHELL,
    "strict shell": SHELL.replace("/sh\n", "/sh -eu\n"),
    "bash by env": SHELL.replace("#!/bin/sh", "#!/usr/bin/env bash"),
    "no first line": SHELL.removeprefix("#!/bin/sh\n"),
    "shell that reads line by line": (
        "#!/bin/sh\nprintf '%s\\n' \"$@\" >arguments\n"
        'while read -r ref oid there theirs; do echo "$ref $oid $there $theirs"; done >seen\n'
    ),
    "python": (
        "#!/usr/bin/env python3\nimport os, sys\n"
        "open('arguments', 'w').write('\\n'.join(sys.argv[1:]) + '\\n')\n"
        "open('seen', 'w').write(sys.stdin.read())\n"
        "assert os.path.basename(sys.argv[0]) == 'pre-push', sys.argv\n"
    ),
}
# What pre-commit and husky put there, in their form: bash with an exec at the end, and a script that finds another.
PRE_COMMIT = """\
#!/usr/bin/env bash
ARGS=(hook-impl --hook-type=pre-push)
HERE="$(cd "$(dirname "$0")" && pwd)"
ARGS+=(--hook-dir "$HERE" -- "$@")
if [ -n "${ARGS[0]}" ]; then
    exec tee seen
fi
"""
HUSKY_HOOK = '#!/usr/bin/env sh\n. "$(dirname "$0")/h"\n'
HUSKY_H = """\
#!/usr/bin/env sh
n=$(basename "$0")
s=$(dirname "$(dirname "$0")")/$n
[ ! -f "$s" ] && exit 0
sh -e "$s" "$@"
exit $?
"""


def put(path: Path, text: str, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def photograph(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file and link below a folder: its mode, and its content or where it leads."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISDIR(mode):
            content = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
            found[str(path.relative_to(folder))] = (mode, content)
    return found


def pushed_line(repo: GitRepo) -> str:
    """What Git tells a pre-push hook for a new branch."""
    return f"refs/heads/main {repo.git('rev-parse', 'HEAD')} refs/heads/main {'0' * 40}\n"


def check_everybody_ran(repo: GitRepo, origin: GitRepo) -> None:
    """The push brought the objects, and their hook saw what Git said."""
    line = pushed_line(repo)
    repo.git("push", "origin", "main")
    assert oids(repo) <= {path.name for path in there(origin)}
    assert repo.read("seen").decode() == line


@pytest.fixture
def hooks(repo: GitRepo) -> Path:
    """The hooks folder of a repository that git-theta does not know yet."""
    folder = repo.path / ".git" / "hooks"
    shutil.rmtree(folder)
    folder.mkdir()
    return folder


@pytest.mark.parametrize("style", STYLES)
def test_a_hook_of_theirs_still_runs_and_sees_the_same(repo: GitRepo, hooks: Path, style: str) -> None:
    put(hooks / "pre-push", STYLES[style])
    before = photograph(hooks)
    start(repo)
    origin = bare(repo)
    check_everybody_ran(repo, origin)
    assert repo.read("arguments").decode() == f"origin\n{origin.path}\n"
    repo.theta("uninstall", "--global")
    assert photograph(hooks) == before


def test_a_hook_of_theirs_can_still_refuse(repo: GitRepo, hooks: Path) -> None:
    put(hooks / "pre-push", "#!/usr/bin/env python3\nimport sys\nsys.exit('not today')\n")
    start(repo)
    bare(repo)
    done = attempt(repo, "push", "origin", "main")
    assert done.returncode != 0
    assert b"not today" in done.stderr
    assert repo.git("ls-remote", "origin") == ""


def test_nothing_to_push_is_nothing_for_their_hook_too(repo: GitRepo, hooks: Path) -> None:
    put(hooks / "pre-push", SHELL)
    start(repo)
    bare(repo)
    repo.git("push", "origin", "main")
    repo.git("push", "origin", "main")
    assert repo.read("seen") == b""


def test_hundreds_of_refs_pass_through_whole(repo: GitRepo, hooks: Path) -> None:
    put(hooks / "pre-push", SHELL)
    start(repo)
    bare(repo)
    head = repo.git("rev-parse", "HEAD")
    lines = "".join(f"create refs/heads/topic/{number:04} {head}\n" for number in range(800))
    repo.git("update-ref", "--stdin", stdin=lines.encode())
    repo.git("push", "--all", "origin")
    assert len(repo.read("seen").splitlines()) == 801


def test_a_link_to_a_script_elsewhere_is_not_written_through(repo: GitRepo, hooks: Path) -> None:
    script = put(repo.path / "tools" / "pre-push.sh", SHELL)
    (hooks / "pre-push").symlink_to(Path("../../tools/pre-push.sh"))
    before = photograph(hooks)
    start(repo)
    check_everybody_ran(repo, bare(repo))
    assert script.read_text() == SHELL
    repo.theta("uninstall", "--global")
    assert photograph(hooks) == before


def test_a_hook_that_is_switched_off_stays_off(repo: GitRepo, hooks: Path) -> None:
    put(hooks / "pre-push", SHELL, mode=0o644)
    before = photograph(hooks)
    start(repo)
    origin = bare(repo)
    repo.git("push", "origin", "main")
    assert oids(repo) <= {path.name for path in there(origin)}
    assert not (repo.path / "seen").exists()
    repo.theta("uninstall", "--global")
    assert photograph(hooks) == before


@pytest.mark.parametrize("style", ["shell", "python"])
def test_putting_hooks_again_changes_nothing(repo: GitRepo, hooks: Path, style: str) -> None:
    put(hooks / "pre-push", STYLES[style])
    start(repo)
    before = photograph(hooks)
    repo.theta("install", "--global")
    change(repo)
    assert photograph(hooks) == before


def test_a_hook_that_another_tool_writes_again_gets_our_part_again(repo: GitRepo, hooks: Path) -> None:
    start(repo)
    origin = bare(repo)
    put(hooks / "pre-push", STYLES["python"])
    change(repo)
    check_everybody_ran(repo, origin)
    put(hooks / "pre-push", SHELL)
    content = change(repo, 2)
    repo.git("push", "origin", "main")
    assert repo.read("seen").startswith(b"refs/heads/main ")
    check_whole(clone(repo, origin.path, "copy"), content)


def test_pre_commit(repo: GitRepo, hooks: Path) -> None:
    put(hooks / "pre-push", PRE_COMMIT)
    before = photograph(hooks)
    start(repo)
    check_everybody_ran(repo, bare(repo))
    repo.theta("uninstall", "--global")
    assert photograph(hooks) == before


def test_husky(repo: GitRepo) -> None:
    """husky 9: core.hooksPath leads to an ignored folder, whose scripts run the tracked one beside it."""
    folder = repo.path / ".husky" / "_"
    put(folder / ".gitignore", "*", mode=0o644)
    put(folder / "h", HUSKY_H)
    for name in ("pre-push", "post-checkout", "post-merge"):
        put(folder / name, HUSKY_HOOK)
    put(repo.path / ".husky" / "pre-push", "cat > seen\n", mode=0o644)
    repo.git("config", "core.hooksPath", ".husky/_")
    before = photograph(folder)
    start(repo)
    check_everybody_ran(repo, bare(repo))
    repo.theta("uninstall", "--global")
    assert photograph(folder) == before


@pytest.mark.parametrize("first", ["git-lfs", "git-theta"])
def test_git_lfs_and_its_own_files(repo: GitRepo, host: Host, first: str) -> None:
    """Both kinds of objects travel, whoever came first: git-lfs puts no hooks where there are some."""
    repo.git("lfs", "install", "--skip-repo")
    if first == "git-lfs":
        repo.git("lfs", "update")
    start(repo)
    repo.git("lfs", "track", "*.bin")
    repo.write("weights.bin", b"a file of git-lfs's own")
    repo.commit("both")
    url = host.create(repo)
    repo.git("remote", "add", "origin", url)
    repo.git("push", "origin", "main")
    assert len(host.objects()) == len(oids(repo)) + 1
    copy = clone(repo, url, "copy")
    check_whole(copy, checkpoint())
    assert copy.read("weights.bin") == b"a file of git-lfs's own"
    copy.write("weights.bin", b"changed in the clone")
    change(copy)
    copy.git("push", "origin", "main")
    assert oids(copy) <= set(host.objects())
    assert len(host.objects()) == len(oids(copy)) + 2


def test_git_lfs_writes_its_hooks_over_ours(repo: GitRepo, hooks: Path) -> None:
    start(repo)
    repo.git("lfs", "update", "--force")
    lfs = photograph(hooks)
    change(repo)
    assert b"git-theta" in (hooks / "pre-push").read_bytes()
    repo.theta("uninstall", "--global")
    assert photograph(hooks) == lfs


def test_without_files_of_git_lfs_its_hooks_are_not_run(repo: GitRepo, host: Host) -> None:
    start(repo)
    repo.git("lfs", "install", "--skip-repo")
    repo.git("remote", "add", "origin", host.create(repo))
    repo.git("push", "origin", "main")
    shutil.rmtree(repo.path / ".git" / "theta" / "objects")
    repo.theta("fetch")
    repo.theta("fsck", "--remote")
    assert not (repo.path / ".git" / "lfs").exists()
    change(repo)
    repo.git("push", "origin", "main")
    assert host.count("POST", "locks") == 0


def test_worktrees_share_the_hooks(repo: GitRepo, hooks: Path) -> None:
    put(hooks / "pre-push", SHELL)
    start(repo)
    origin = bare(repo)
    repo.git("worktree", "add", "--quiet", "-b", "side", "../side")
    side = repo.at(repo.path.parent / "side")
    content = change(side)
    side.git("push", "origin", "side")
    assert side.read("seen").startswith(b"refs/heads/side ")
    check_whole(clone(repo, origin.path, "copy", "--branch", "side"), content)


def test_hooks_shared_by_all_repositories_of_a_user(repo: GitRepo) -> None:
    """core.hooksPath in the global configuration: where there are no checkpoints, our part does nothing."""
    folder = repo.home / "hooks"
    put(folder / "pre-push", SHELL)
    repo.git("config", "--global", "core.hooksPath", str(folder))
    start(repo)
    check_everybody_ran(repo, bare(repo))
    other = repo.at(repo.path.parent / "other")
    other.path.mkdir()
    other.git("init", "--quiet")
    other.git("commit", "--allow-empty", "-m", "nothing of ours")
    bare(other, "elsewhere")
    other.run("git", "push", "elsewhere", "main", env={"PATH": "/usr/bin:/bin"})
    assert other.read("seen").decode() == pushed_line(other)
    repo.theta("uninstall", "--global")
    assert (folder / "pre-push").read_text() == SHELL


def test_a_tracked_hook_is_left_alone_and_the_line_to_add_is_said(repo: GitRepo) -> None:
    put(repo.path / "githooks" / "pre-push", SHELL)
    repo.commit("hooks of the team")
    repo.git("config", "core.hooksPath", "githooks")
    start(repo)
    origin = bare(repo)
    done = repo.run("git", "theta", "install", "--global")
    said = done.stderr.decode()
    assert "githooks/pre-push" in said
    assert "git push will not send objects" in said
    assert (repo.path / "githooks" / "pre-push").read_text() == SHELL
    assert repo.git("status", "--porcelain") == ""
    line = next(line for line in said.splitlines() if "theta/hooks/pre-push" in line).partition("add: ")[2]
    put(repo.path / "githooks" / "pre-push", SHELL.replace("#!/bin/sh\n", f"#!/bin/sh\n{line}\n"))
    repo.commit("git-theta runs too")
    assert repo.run("git", "theta", "install", "--global").stderr == b""
    check_everybody_ran(repo, origin)
    # For who does not have git-theta the line does nothing.
    plain = clone(repo, origin.path, "plain", "-c", "filter.theta.process=", "-c", "filter.theta.required=false")
    plain.git("config", "core.hooksPath", "githooks")
    shutil.rmtree(plain.path / ".git" / "theta", ignore_errors=True)
    plain.git("commit", "--allow-empty", "-m", "plain")
    plain.run("git", "push", "origin", "main", env={"PATH": "/usr/bin:/bin"})
    assert plain.read("seen").startswith(b"refs/heads/main ")


def test_a_tracked_hook_folder_gets_no_new_file(repo: GitRepo) -> None:
    put(repo.path / "githooks" / "commit-msg", "#!/bin/sh\n")
    repo.commit("hooks of the team")
    repo.git("config", "core.hooksPath", "githooks")
    start(repo)
    assert sorted(path.name for path in (repo.path / "githooks").iterdir()) == ["commit-msg"]
    assert repo.git("status", "--porcelain") == ""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder that not even root can write")
def test_a_hooks_folder_that_cannot_be_written_is_said_and_add_goes_on(repo: GitRepo) -> None:
    repo.git("config", "core.hooksPath", "/sys/kernel")
    start(repo)
    done = repo.run("git", "theta", "install", "--global")
    assert b"/sys/kernel/pre-push" in done.stderr
    assert b"git push will not send objects" in done.stderr


def test_a_hook_that_cannot_be_read_is_said_and_add_goes_on(repo: GitRepo, hooks: Path) -> None:
    (hooks / "pre-push").mkdir()
    start(repo)
    done = repo.run("git", "theta", "install", "--global")
    assert b"git push will not send objects" in done.stderr
    assert is_manifest(repo.run("git", "cat-file", "blob", f"HEAD:{MODEL}").stdout)


def test_no_hooks_at_all_is_respected(repo: GitRepo) -> None:
    repo.git("config", "core.hooksPath", os.devnull)
    start(repo)
    assert repo.run("git", "theta", "install", "--global").stderr == b""
    said = repo.run("git", "theta", "status").stdout.decode()
    assert "git push will not send objects" in said
    assert "nothing to do" not in said


def test_without_our_configuration_a_push_is_refused_with_a_reason(repo: GitRepo) -> None:
    """Somebody took the filters away and left the repository as it was: objects would stay behind."""
    start(repo)
    bare(repo)
    repo.git("config", "--global", "--remove-section", "filter.theta")
    done = attempt(repo, "push", "origin", "main")
    assert done.returncode != 0
    assert b"nothing was pushed" in done.stderr
    assert b"hint: git theta install" in done.stderr
    assert repo.git("ls-remote", "origin") == ""
