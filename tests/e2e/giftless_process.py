"""Giftless, a real Git LFS server, as a process: ``giftless_process.py STORAGE`` prints its port and serves.

Anybody may read and write, and objects lie in STORAGE as ``ORGANISATION/REPOSITORY/OID``. Answers are sent in blocks:
giftless reads an object line by line, and would send each as it is, which makes a download twenty times slower.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_BLOCK = 1 << 18


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
    from werkzeug.wsgi import ClosingIterator

    giftless = init_app()

    def answer(environment: WSGIEnvironment, begin: StartResponse) -> Iterable[bytes]:
        lines = giftless.wsgi_app(environment, begin)
        return ClosingIterator(_in_blocks(lines), lines.close)

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


def _in_blocks(parts: Iterable[bytes]) -> Iterator[bytes]:
    block = bytearray()
    for part in parts:
        block += part
        if len(block) >= _BLOCK:
            yield bytes(block)
            block.clear()
    yield bytes(block)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
