"""The command line: thin commands over the functions of the Python API."""

from __future__ import annotations

import sys

from goldloop.cli.interrupts import deliver_lost


def main() -> None:
    """Run a command; exit code 0 done, 1 the work failed, 2 wrong usage, 130 stopped by Ctrl-C."""
    from goldloop.cli.app import app
    from goldloop.errors import GoldloopError

    deliver_lost()
    try:
        app()
    except GoldloopError as error:
        sys.stderr.write(f"goldloop: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("goldloop: stopped; run the same command again to go on from here\n")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone, as `| head` does.
        sys.stderr.close()
        sys.exit(1)
