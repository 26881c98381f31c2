"""The log: one line an event, on the terminal and in a run's log.txt."""

import logging
import sys
import warnings
from pathlib import Path

from tqdm import tqdm

from skeleton_reid.common import processes

log = logging.getLogger("reid")


class _Terminal(logging.Handler):
    """Writes to stdout, above the progress bars that are on the screen."""
    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stdout)


class _File(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        raise  # a full disk ends the command as it does elsewhere, without logging's traceback


def start_log(quiet: bool) -> None:
    """Send the log to the terminal alone, or if quiet nowhere. Each warning is a line, once."""
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()
    if not quiet:
        log.addHandler(_Terminal())
    shown = set()

    def show_once(message, *_, **__) -> None:
        if str(message) not in shown:
            tqdm.write(f"warning: {message}", file=sys.stderr)
        shown.add(str(message))

    warnings.showwarning = show_once


def log_to(file: Path) -> None:
    """Send the first process's log to the end of a file, too; OSError if it cannot be written."""
    if processes.number() > 0:
        return
    handler = _File(file, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(handler)
