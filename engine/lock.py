"""One process at a time where files are written."""

import os
import platform
from pathlib import Path
from typing import TextIO

from common.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has other locks
    fcntl = None


def hold(path: Path) -> TextIO:
    """Keep other processes out of a folder as long as the returned file, path, is open.

    The system closes it with the process, however that ends: a lock never has to be removed by
    hand. The file stays. The same process may hold a lock twice. Where there are no such locks, as
    on some network drives, nothing is kept out. Raises InputError, naming the process, if another
    one is at work, and if the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise InputError(f"could not write {path}: {error}") from error
    own = f"process {os.getpid()} on {platform.node()}"
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read() or "another process"
        if holder == own:  # its earlier run, which a kept traceback can hold open
            return file
        file.close()
        raise InputError(
            f"{holder} is at work in {path.parent} (it holds {path.name}): wait until it is done or stop it, or "
            "choose another --out"
        ) from error
    except OSError:  # no locks on this drive
        return file
    file.seek(0)
    file.truncate()
    file.write(own)
    file.flush()
    return file
