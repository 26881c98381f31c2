"""The log: one line an event, on the terminal and in a run's log.txt."""

import logging
import re
import shutil
import sys
import textwrap
import warnings
from pathlib import Path

from tqdm import tqdm

from skeleton_reid.common import processes

log = logging.getLogger("reid")
data_log = logging.getLogger("reid.data")  # warnings of data, which are no result: to stderr


class _Terminal(logging.Handler):
    """Writes above the progress bars that are on the screen."""
    def emit(self, record: logging.LogRecord) -> None:
        if record.name == log.name:
            tqdm.write(fit(self.format(record)), file=sys.stdout)
        else:
            text = f"warning: {self.format(record)}"  # a line, for who searches in what is written
            tqdm.write(fit(text) if sys.stderr.isatty() else text, file=sys.stderr)


def fit(text: str) -> str:
    """A text in lines as wide as the terminal. Where two blanks stand between its fields, it is
    broken there alone.
    """
    indent = "  " + text[:len(text) - len(text.lstrip())]
    if "  " in text.strip():
        text = re.sub(r"(?<! ) (?! )", "\xa0", text)
    lines = textwrap.wrap(text,
                          shutil.get_terminal_size().columns, subsequent_indent=indent,
                          break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines).replace("\xa0", " ")


class _File(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        raise  # a full disk ends the command as it does elsewhere, without logging's traceback


def start_log(quiet: bool) -> None:
    """Send the log to the terminal alone, if quiet only its warnings; Python's too, each once."""
    log.setLevel(logging.INFO)
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()
    log.addHandler(_Terminal(logging.WARNING if quiet else logging.INFO))
    shown = set()

    def show_once(message, *_, **__) -> None:
        if str(message) not in shown:
            data_log.warning(message)
        shown.add(str(message))

    warnings.showwarning = show_once


def log_to(file: Path) -> None:
    """Send the first process's log to the end of a file, too; OSError if it cannot be written."""
    if processes.number() > 0:
        return
    handler = _File(file, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    log.addHandler(handler)
