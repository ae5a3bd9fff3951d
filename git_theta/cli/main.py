"""Where ``git-theta`` starts: the command line enters, an exit code leaves.

Every error a user can meet becomes text here and nowhere else: a :class:`~git_theta.errors.ThetaError` is one
line, its hint and its own exit code; Ctrl-C is 130; a closed pipe is silent; anything unforeseen is one line
that says how to see the traceback. Git starts ``git-theta filter-process`` on every ``add`` and ``checkout``,
so that command is reached before click (30 ms) or any other heavy module is imported.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

from git_theta.cli.output import drop_output, warn
from git_theta.errors import Exit, ThetaError

TRACE = "GIT_THETA_TRACE"


def main() -> int:
    """Run the command in ``sys.argv`` and return its exit code."""
    sys.excepthook = _report_unforeseen
    arguments = sys.argv[1:]
    try:
        if arguments == ["filter-process"]:
            from git_theta.cli.serve import serve

            code = serve()
        else:
            from git_theta.cli.commands import run_command

            code = run_command(arguments)
        sys.stdout.flush()
        return code
    except ThetaError as error:
        if _tracing():
            raise
        warn(str(error), error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        warn("interrupted")
        import threading  # no filter needs it to start

        if threading.active_count() > 1:
            os._exit(Exit.INTERRUPTED)  # Python itself would wait for threads that may never end
        return Exit.INTERRUPTED
    except BrokenPipeError:
        drop_output()
        return Exit.FAILED
    except OSError as error:
        if _tracing():
            raise
        place = f"{error.filename}: " if error.filename else ""
        warn(f"{place}{error.strerror or error}")
        return Exit.FAILED


def _tracing() -> bool:
    return os.environ.get(TRACE, "").lower() not in {"", "0", "no", "off", "false"}


def _report_unforeseen(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What Python calls for an exception nobody caught; the exit code is 1 either way."""
    if _tracing():
        sys.__excepthook__(kind, error, trace)
    else:
        warn(
            f"unexpected {kind.__name__}: {error}",
            f"this is a bug in git-theta; run the command again with {TRACE}=1 to see where, and please report it",
        )
