"""Runs a command and appends its peak memory, in bytes, to a file: ``python measure.py FILE PROGRAM [ARGUMENT...]``."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path


def main() -> int:
    file, *command = sys.argv[1:]
    code = subprocess.run(command, check=False).returncode
    # Kilobytes everywhere but on macOS. The child began as a copy of this process, which is smaller than it.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    with Path(file).open("a") as notes:
        notes.write(f"{peak}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
