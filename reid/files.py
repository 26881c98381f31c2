"""Files that are written whole or not at all."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from reid.errors import InputError


def write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Let `write` fill a file that takes its place when it lies complete on the disk.

    Raises InputError if that fails (disk full, no permission); a file that was there before is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    # PyTorch's writer reports a full disk as a RuntimeError.
    except (OSError, RuntimeError) as error:
        kept = "the old file is kept" if path.exists() else "nothing was written"
        raise InputError(f"could not write {path}: {error}; {kept}") from error
    finally:
        with suppress(OSError):  # where nothing can be written there is nothing to remove
            temporary.unlink(missing_ok=True)
