"""YAML files that users write, as typed records (msgspec.Struct)."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

import msgspec
import yaml

from skeleton_reid.common.errors import InputError

Record = TypeVar("Record", bound=msgspec.Struct)


def read_yaml(path: Path, kind: type[Record]) -> Record:
    """The file as a record, of which fields `name` and `file` are by default those of the file.
    InputError for a file that is no YAML, and a key that is misspelt, missing or of another type.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        if isinstance(values, dict):
            own = {"name": path.stem, "file": str(path)}
            values = {name: own[name] for name in own.keys() & kind.__struct_fields__} | values
        return msgspec.convert(values, kind)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: expected a YAML file, found {error}") from error
    except msgspec.ValidationError as error:
        unknown = re.search("unknown field `(.*)`", str(error))
        words = expected_one(unknown[1], kind.__struct_fields__) if unknown else error
        raise InputError(f"{path}: {words}") from error


def expected_one(name: str, names: Iterable[str]) -> str:
    """What is wrong with a name that is none of these: the nearest one, or all."""
    names = list(names)
    near = get_close_matches(name, names, 1)
    allowed = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names)}"
    return f"unknown {name!r}; {allowed}"
