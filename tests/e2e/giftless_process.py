"""Giftless, a real Git LFS server, as a process: ``giftless_process.py STORAGE`` prints its port and serves.

Anybody may read and write, and objects lie in STORAGE as ``ORGANISATION/REPOSITORY/OID``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(storage: Path) -> None:
    """Serve on a free port of the loopback until the process is ended."""
    configuration = storage.with_suffix(".yaml")
    configuration.write_text(
        "AUTH_PROVIDERS: [giftless.auth.allow_anon:read_write]\n"
        "PRE_AUTHORIZED_ACTION_PROVIDER: {options: {private_key: " + "k" * 72 + "}}\n"
        "TRANSFER_ADAPTERS:\n"
        "  basic:\n"
        "    factory: giftless.transfer.basic_streaming:factory\n"
        "    options:\n"
        "      storage_class: giftless.storage.local_storage:LocalStorage\n"
        f"      storage_options: {{path: {storage}}}\n"
        "      action_lifetime: 900\n"
    )
    os.environ["GIFTLESS_CONFIG_FILE"] = str(configuration)
    from giftless.app import init_app
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, init_app(), threaded=True)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
