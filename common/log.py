"""The log: one line an event, on the terminal and in a run's log.txt."""

import logging
import sys
import warnings
from pathlib import Path

from tqdm import tqdm

from common.errors import InputError

log = logging.getLogger("reid")


class _Terminal(logging.Handler):
    """Writes to stdout, above the progress bars that are on the screen."""
    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stdout)


def start_log(quiet: bool) -> None:
    """Send the log to the terminal, unless quiet. Warnings become one line each, shown once."""
    log.setLevel(logging.INFO)
    log.propagate = False
    stop_log()
    if not quiet:
        log.addHandler(_Terminal())
    shown = set()

    def show_once(message, *_, **__) -> None:
        if str(message) not in shown:
            print(f"warning: {message}", file=sys.stderr)
        shown.add(str(message))

    warnings.showwarning = show_once


def log_to(file: Path) -> None:
    """Send the log to the end of a file, too. Raises InputError if it cannot be written."""
    try:
        handler = logging.FileHandler(file, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise InputError(f"could not write {file}: {error}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    handler.handleError = _raise
    log.addHandler(handler)


def stop_log() -> None:
    """Close the files of the log."""
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()


def _raise(record: logging.LogRecord) -> None:
    """In place of logging's traceback: a full disk ends the command as it does elsewhere."""
    raise  # the exception that the handler has caught
