"""``peak.py LOG COMMAND...``: run a command and append the peak memory of it and its children to LOG, in bytes.

Stands between Git and our filter. It stays small itself: a process begins with its parent's peak.
"""

import resource
import subprocess
import sys


def main() -> int:
    """Run the command given; returns its exit code."""
    log, *command = sys.argv[1:]
    code = subprocess.call(command)
    unit = 1 if sys.platform == "darwin" else 1024
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
