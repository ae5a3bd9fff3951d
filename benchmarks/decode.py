"""``decode.py PATH REVISION...``: read and decode every group of a checkpoint in some commits, checked, and do no more.

The least that a comparison of all values can cost: what `git theta diff` is measured against.
"""

import sys

from git_theta.cli.workspace import open_workspace


def main() -> int:
    """Decode the versions one after the other, on as many threads as the filter has; 1 when one is damaged."""
    path, *revisions = sys.argv[1:]
    workspace = open_workspace()
    try:
        found = [workspace.manifest(f"{revision}:{path}") for revision in revisions]
        manifests = [manifest for manifest in found if manifest]
        sound = len(manifests) == len(revisions) and not any(map(workspace.reader.check, manifests))
    finally:
        workspace.close()
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
