"""Bad input ends a command with one line and exit code 2; an interruption with exit code 130."""

import sys
from collections.abc import Callable


class InputError(Exception):
    """Wrong use or bad input. The message is one line: what was expected, what was found, what to do."""


def run_command(main: Callable[[], None]) -> None:
    """Run a command's `main` and turn its end into the exit codes 0 (done), 2 (bad input), 130 (interrupted)."""
    try:
        main()
    except InputError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; what was saved is whole: go on with --resume, or run again", file=sys.stderr)
        sys.exit(130)
