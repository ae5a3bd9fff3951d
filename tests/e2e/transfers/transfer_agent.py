"""A custom transfer agent for git-lfs (git-lfs docs/custom-transfers.md): objects as files in one folder.

python transfer_agent.py FOLDER
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path


def main(folder: Path) -> None:
    """Answer git-lfs until it says goodbye."""
    for line in sys.stdin:
        asked = json.loads(line)
        answer: dict[str, object] = {}
        if asked["event"] == "terminate":
            return
        if asked["event"] != "init":
            oid = asked["oid"]
            answer = {"event": "complete", "oid": oid}
            if asked["event"] == "upload":
                shutil.copyfile(asked["path"], folder / oid)
            elif (folder / oid).exists():
                answer["path"] = str(shutil.copyfile(folder / oid, folder.parent / f"{oid}.part"))
            else:
                answer["error"] = {"code": 2, "message": "no such object"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
