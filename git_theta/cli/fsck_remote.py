"""``git theta fsck --remote``: whether a remote has every object that the history on it names."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from git_theta.cli.output import emit_json
from git_theta.cli.sending import terminal
from git_theta.cli.text import human, plural, printable
from git_theta.cli.workspace import Workspace
from git_theta.errors import Exit, ThetaError
from git_theta.gitio.process import ask_git
from git_theta.gitio.remotes import default_remote
from git_theta.lfs import Need, end_of, find_remote, named_objects
from git_theta.lfs.keep import pushed_tips
from git_theta.model import Oid

_SHOWN = 20


class NothingToCheck(ThetaError):
    """No remote was given and none is configured."""

    exit_code = Exit.USAGE


def check_remote(workspace: Workspace, name: str | None, as_json: bool) -> int:
    """Report which objects are not on the remote ``name`` (default: plain fetch's), and return the exit code."""
    root = workspace.repository.root
    name = name or default_remote(root)
    if name is None:
        raise NothingToCheck("there is no remote to check", hint="git theta fsck --remote NAME")
    target = find_remote(root, name)
    needs = named_objects(root, workspace.blobs, sorted(_tips(workspace, name)))
    end = end_of(workspace.repository, target, terminal())
    lacking = end.lacks([need.stored for need in needs.values()], thorough=True) if needs else {}
    here = {oid for oid in lacking if workspace.store.has(oid, needs[oid].stored.size)}
    if as_json:
        rows = [
            {"oid": oid, "path": needs[oid].path, "reason": reason, "here": oid in here}
            for oid, reason in sorted(lacking.items())
        ]
        emit_json({"remote": name, "objects": len(needs), "lacking": rows})
    else:
        click.echo(_text(name, needs, lacking, here))
    return Exit.MISSING if lacking else Exit.OK


def _tips(workspace: Workspace, name: str) -> set[str]:
    """Those commits of the remote's branches and tags, as they are now and as Git last heard, that are here."""
    root = workspace.repository.root
    now = os.fsdecode(ask_git("ls-remote", "--heads", "--tags", name, cwd=root)).splitlines()
    oids = "".join(f"{line.split()[0]}\n" for line in now)
    known = ask_git("cat-file", "--batch-check=%(objectname) %(objecttype)", cwd=root, stdin=oids.encode())
    here = {line.split(" ")[0] for line in known.decode().splitlines() if line.endswith((" commit", " tag"))}
    return here | set(pushed_tips(root, name))


def _text(name: str, needs: Mapping[Oid, Need], lacking: Mapping[Oid, str], here: set[Oid]) -> str:
    if not lacking:
        size = human(sum(need.stored.size for need in needs.values()))
        return f"{name} has all {plural(len(needs), 'object')} ({size}) that the history here says it needs"
    lines = []
    for oid, reason in list(lacking.items())[:_SHOWN]:
        where = "it is here" if oid in here else "it is not here either"
        lines.append(f"{oid} of {printable(needs[oid].path)}: {reason}; {where}")
    if len(lacking) > _SHOWN:
        lines.append(f"and {len(lacking) - _SHOWN:,} more")
    lines.append(f"{name} lacks {len(lacking):,} of {plural(len(needs), 'object')}")
    if here:
        lines.append(f"to send what is here: git theta push {name} --all")
    if len(here) < len(lacking):
        lines.append("the others must come from another clone: git theta fetch --all asks every remote")
    return "\n".join(lines)
