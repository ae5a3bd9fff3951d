"""Clean and smudge as functions: a checkpoint's bytes to its manifest, and back."""

from git_theta.filters.clean import Cleaner
from git_theta.filters.smudge import Smudger

__all__ = ["Cleaner", "Smudger"]
