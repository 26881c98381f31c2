"""Bad input ends a command with one line and exit code 2; an interruption with exit code 130."""

import io
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from skeleton_reid.common import processes

LACKS_MEMORY = "(out of|allocate|enough) memory|process pool was terminated"


class InputError(Exception):
    """Wrong use or bad input, in one line: what was expected, what was found, what to do."""


def in_words(error: BaseException) -> str:
    """What an error of Python's or a library's says, without the system's number and path."""
    if "allow_pickle" in str(error):
        return "objects of Python in the place of an array of numbers"
    if re.search("requested and .* written|problem writing", str(error)):  # NumPy's words
        return "the disk is full, or its quota is used up"
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


@contextmanager
def collected(errors: list[InputError]) -> Iterator[None]:
    """The block's InputError ends the block alone: it goes into the list, for `raise_collected`."""
    try:
        yield
    except InputError as error:
        errors.append(error)


def raise_collected(errors: list[InputError]) -> None:
    """Raise one InputError that says what all of them say, each once, if there are any."""
    if errors:
        raise InputError("; also: ".join(dict.fromkeys(map(str, errors)))) from errors[0]


def run_command(main: Callable[[], None], go_on: str = "go on with --resume, or run again") -> None:
    """Run a command's `main` and turn its end into the exit codes 0 (done), 2 (bad input, also a
    full disk, a forbidden folder, too little memory), 130 (interrupted), 141 (no reader).
    go_on: what an interruption advises. Letters that the terminal lacks are printed as escapes.
    """
    sys.excepthook = _uncaught
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with processes.first_speaks():
            main()
            sys.stdout.flush()
    except InputError as error:
        _refuse(str(error))
    except processes.ProcessEndedError:
        if processes.number() < 2:  # one of the first two is left to say so
            print(f"error: another process of the run ended: {go_on}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        if processes.number() == 0:
            print(f"interrupted; what was saved is whole: {go_on}", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # for the flush at the end of Python
        sys.exit(141)  # as a shell shows of `...` in `... | head`
    except OSError as error:
        _refuse(f"could not read or write {error.filename or 'a file'}: {in_words(error)}")
    except (MemoryError, RuntimeError) as error:  # PyTorch's, of several wordings
        if not isinstance(error, MemoryError) and not re.search(LACKS_MEMORY, str(error)):
            raise
        _refuse(f"not enough memory; use a smaller model, fewer sequences or another --device "
                f"({error})")


def _uncaught(kind: type, error: BaseException, trace: Any) -> None:
    """An interruption between a script's two calls of `run_command`, while PyTorch is imported."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted: run again", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def _refuse(message: str) -> None:
    if processes.number() > 0:
        # What all processes meet the first one says, and torchrun ends the others in this time.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(10)
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
