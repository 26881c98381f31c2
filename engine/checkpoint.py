"""Checkpoints: one dict of tensors and plain values, written whole or not at all, read without
running code.
"""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import is_zipfile

import torch

from common.errors import InputError
from common.files import write_whole

FORMAT = "skeleton-reid 1"


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint of tensors and plain values, whole or not at all. Raises InputError if it
    cannot be.
    """
    write_whole(path, lambda file: torch.save({"format": FORMAT, **content}, file))


def load(path: Path, method: str | None = None) -> dict[str, Any]:
    """Read a checkpoint that this project wrote, onto the CPU.

    method: the method it must be of, if given. Raises InputError if the file is missing, damaged,
    not a checkpoint of this project, or of another method.
    """
    if not path.is_file():
        found = " (it is a folder)" if path.is_dir() else ""
        raise InputError(f"no checkpoint at {path}{found}; train first, or name another place")
    try:
        with path.open("rb") as file:
            whole = is_zipfile(file)
    except OSError as error:
        raise InputError(f"{path} is not a readable checkpoint: {error.strerror}") from error
    if not whole:  # PyTorch would take it for an old pickle
        raise InputError(
            f"{path} is not a readable checkpoint: it is truncated or damaged, or another kind of file"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # whose message advises to run the code
        reason = "it holds more than tensors and plain values, and code is not run"
        raise InputError(f"{path} is not a readable checkpoint: {reason}") from error
    except Exception as error:  # other bytes than a checkpoint's can raise anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path} is not a readable checkpoint (truncated or damaged?): {reason}"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not a checkpoint of this project: expected format {FORMAT!r}")
    if method is not None and content["method"] != method:
        raise InputError(f"{path} holds a {content['method']} model, expected {method}")
    return content


def expect(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse a checkpoint whose values differ from those of the run, naming the first that does."""
    for name, value in wanted.items():
        if found.get(name) != value:
            raise InputError(
                f"{path} was made with {name} = {found.get(name)}, but this run has {name} = {value}; "
                "use the same value, or another --out for another run"
            )
