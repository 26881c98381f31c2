"""YAML files that users write, as typed records (msgspec.Struct)."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
import yaml

from skeleton_reid.common.errors import InputError, in_words

Record = TypeVar("Record", bound=msgspec.Struct)
# msgspec's names of types in a user's words.
TYPES = {
    "str": "text (quote what looks like a number)", "int": "a whole number", "float": "a number",
    "bool": "true or false", "object": "names with values, key: value", "array": "a list"
}


class _Loader(yaml.SafeLoader):
    """YAML 1.1, but 1e-3 is a number, and a key that is there twice is an error."""
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value]
        for key, _ in reversed(node.value):
            if keys.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key.value!r} twice",
                                                        key.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver("tag:yaml.org,2002:float",
                              re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789"))


def read_yaml(path: Path, kind: type[Record]) -> Record:
    """The file as a record, of which fields `name` and `file` are by default those of the file.
    InputError for a file that is no YAML, and a key that is misspelt, missing or of another type.
    """
    values = None
    try:
        with path.open("rb") as file:
            values = yaml.load(file, _Loader)
        if isinstance(values, dict):
            own = {"name": path.stem, "file": str(path)}
            values = {name: own[name] for name in own.keys() & kind.__struct_fields__} | values
        return msgspec.convert(values, kind)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: expected a YAML file (docs/09-own-data.md), found "
                         f"{in_words(error)}") from error
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {_in_words(str(error), values, kind)}") from error


def _in_words(error: str, values: Any, kind: type[Record]) -> str:
    """What msgspec says of the values, by key: what was expected and what was found."""
    if unknown := re.search("unknown field `(.*)`", error):
        return expected_one(unknown[1], kind.__struct_fields__)
    if missing := re.search("missing required field `(.*)`", error):
        return f"expected the key {missing[1]!r}, found none"
    place = re.search(r"`\$\.(\w+).*`$", error)
    if not place and not error.startswith("Expected `"):
        return error  # of the record's own checks
    key = place[1] if place else ""
    hint = get_type_hints(kind).get(key)
    choices = [each for each in (hint, *get_args(hint)) if get_origin(each) is Literal]
    if choices:
        expected = "one of " + ", ".join(get_args(choices[0]))
        expected += " or a number above 0" if float in get_args(hint) else ""
    else:
        expected = re.split(", got| - at", error)[0].removeprefix("Expected ")
        expected = re.sub("`(.*?)`", lambda name: TYPES.get(name[1], name[1]), expected)
    found = values[key] if place else values
    return f"{key and key + ': '}expected {expected}, found {found!r:.80}"


def expected_one(name: str, names: Iterable[str]) -> str:
    """What is wrong with a name that is none of these: the nearest one, or all."""
    names = list(names)
    near = get_close_matches(name, names, 1)
    allowed = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names)}"
    return f"unknown {name!r}; {allowed}"
