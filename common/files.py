"""Files and folders that are written whole or not at all."""

import os
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import is_zipfile

import numpy as np
from filelock import FileLock, Timeout

from skeleton_reid.common import processes
from skeleton_reid.common.errors import InputError, in_words


@contextmanager
def staging_folder(target: Path, prefix: str) -> Iterator[Path]:
    """A new folder in `target`, which is made if need be; it goes when the block ends. If the block
    fails, folders that were made for it go too, as far as they are empty.
    """
    new = [folder for folder in (target, *target.parents) if not folder.exists()]
    try:
        target.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=prefix, dir=target))
        with ExitStack() as at_the_end:
            for _ in range(2):  # Ctrl-C may come while a large folder goes
                at_the_end.callback(shutil.rmtree, staging, ignore_errors=True)
            yield staging
    except BaseException:
        for folder in new:
            with suppress(OSError):  # somebody else has put something in
                folder.rmdir()
        raise


def write_whole(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Let `write` fill a file that takes its place when it is complete; in the first process alone.
    InputError if that fails (disk full, no permission), and an earlier file is untouched.
    """
    if processes.number() > 0:
        return
    place = Path(os.path.realpath(path))  # of a link the file to which it leads
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
    except (OSError, RuntimeError) as error:  # RuntimeError: PyTorch's writer, of a full disk
        kept = "the old file is kept" if path.exists() else "nothing was written"
        reason = in_words(error.__context__ or error)  # PyTorch's says less than its cause
        raise InputError(f"could not write {path}: {reason}; {kept}") from error
    finally:
        with suppress(OSError):  # where nothing can be written there is nothing to remove
            temporary.unlink(missing_ok=True)


def read_arrays(path: Path, names: Collection[str], kind: str,
                made_by: str) -> dict[str, np.ndarray]:
    """The arrays of these names, as far as they are there, of an .npz archive without pickles.
    InputError if it is missing, damaged or pickled. kind: what it is. made_by: what makes it.
    """
    if not path.is_file():
        raise InputError(f"no {kind} at {path}; {made_by}")
    try:
        with path.open("rb") as file:
            if not is_zipfile(file):
                raise ValueError("it is no .npz archive")
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names if name in file.files}
    except Exception as error:  # other bytes than those of such a file can raise anything
        reason = "it holds pickled objects" if "pickle" in str(error) else error
        raise InputError(f"{path} is not a readable {kind} (.npz): {reason}") from error


def composed(name: str) -> str:
    """The name in one Unicode form (NFC): macOS unpacks an accent as a letter of its own."""
    return unicodedata.normalize("NFC", name)


def existing(folder: Path, name: str) -> Path:
    """The file `folder`/`name`, also if its names are there in another Unicode form."""
    places = [folder]
    for part in Path(name).parts:
        forms = part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD"))
        places = [place / form for place in places for form in forms if (place / form).exists()]
    return places[0] if places else folder / name


class _Lock(FileLock):
    """Takes its file away in the end. Who has opened the file meanwhile opens another one."""
    def release(self, force: bool = False) -> None:
        if self.is_locked:
            Path(self.lock_file).unlink(missing_ok=True)
        super().release(force)


def hold(path: Path) -> FileLock:
    """Keep other commands out of a folder until the returned lock on the file `path` is released or
    the first process ends. InputError if another one holds it, or the file cannot be written.
    """
    lock = _Lock(path)
    if processes.number() > 0:
        return lock
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another process is at work in {path.parent}, it holds {path.name}: wait "
                         "until it is done, or choose another folder") from None
    except OSError as error:
        raise InputError(f"could not write {path}: {in_words(error)}; allow writing there, or "
                         "choose another folder") from error
    return lock
