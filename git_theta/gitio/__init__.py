"""Speaking with Git: its processes, its configuration, its attributes, its packet lines.

What enters and leaves are paths, bytes and small frozen values; no other room starts a process of Git or knows
how Git writes its files. Git's own programs answer every question about what Git would do.
"""

from git_theta.gitio.config import SETTINGS, BadSetting, Settings, read_settings
from git_theta.gitio.process import GitFailed, GitNotFound, ask_git
from git_theta.gitio.repository import NotARepository, Repository, find_repository

__all__ = [
    "SETTINGS",
    "BadSetting",
    "GitFailed",
    "GitNotFound",
    "NotARepository",
    "Repository",
    "Settings",
    "ask_git",
    "find_repository",
    "read_settings",
]
