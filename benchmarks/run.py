"""``python benchmarks/run.py``: measure everything and print one table. ``--help`` lists the options."""

import sys
from pathlib import Path


def main() -> None:
    """Make ``benchmarks`` importable from wherever this was started, then run the command."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmarks.command import command

    command()


if __name__ == "__main__":
    main()
