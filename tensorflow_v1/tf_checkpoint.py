"""Read TensorFlow's checkpoints (format V2, of TensorFlow 1 and 2) without TensorFlow.

A checkpoint `best.ckpt` is the files best.ckpt.index, a table (sstable.py) of what is stored where,
and the bytes of the arrays in best.ckpt.data-00000-of-00001, or several such shards. The table's
values are protocol buffers: BundleHeaderProto below the empty key, BundleEntryProto below the name
of each variable (tensorflow/core/protobuf/tensor_bundle.proto). The graph in best.ckpt.meta is not
needed.
"""

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from glob import escape
from math import prod
from pathlib import Path

import numpy as np

from common.errors import InputError
from tensorflow_v1 import sstable
from tensorflow_v1.crc32c import masked_crc32c

# The numbers of tensorflow/core/framework/types.proto that NumPy has a type for.
DTYPES = {
    1: "f4", 2: "f8", 3: "i4", 4: "u1", 5: "i2", 6: "i1", 9: "i8", 10: "?", 17: "u2", 19: "f2", 22: "u4", 23: "u8"
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """Where an array lies, in bytes. dtype: None if NumPy has none, or the array is stored in
    slices.
    """

    dtype: np.dtype | None
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int


@dataclass(frozen=True)
class TFCheckpoint:
    """The table of contents of a checkpoint; `read` reads the arrays. prefix: its path without an
    ending.
    """

    prefix: Path
    shards: int
    entries: dict[str, Entry]

    def read(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """The arrays of some variables. Raises InputError where one is damaged or of a type that is
        not read.
        """
        return {name: self._array(name, self.entries[name]) for name in names}

    def _array(self, name: str, entry: Entry) -> np.ndarray:
        path = Path(f"{self.prefix}.data-{entry.shard:05d}-of-{self.shards:05d}")
        if entry.dtype is None:
            raise InputError(f"{path}: variable {name!r} is not a whole array of numbers")
        wanted = prod(entry.shape) * entry.dtype.itemsize
        try:
            there = path.stat().st_size - entry.offset
            if not there >= entry.size == wanted:
                raise InputError(
                    f"{path}: variable {name!r} of shape {list(entry.shape)} needs {wanted} bytes, found "
                    f"{max(0, min(there, entry.size))}; the file is truncated or belongs to another .index"
                )
            with path.open("rb") as file:
                file.seek(entry.offset)
                data = file.read(entry.size)
        except OSError as error:
            raise _unreadable(path, error) from error
        if masked_crc32c(data) != entry.checksum:
            raise InputError(
                f"{path}: the checksum of variable {name!r} is wrong; the file is damaged"
            )
        return (
            np.frombuffer(data, entry.dtype)
            .reshape(entry.shape)
            .astype(entry.dtype.newbyteorder("="))
        )


def find(path: Path) -> Path | None:
    """The prefix of the checkpoint that a path names; None if it names none.

    path: the prefix itself, one of its files, or a folder with one checkpoint in it.
    """
    name = re.fullmatch(r"(.+)\.(?:index|meta|data-\d{5}-of-\d{5})", path.name)
    if name:
        return path.with_name(name[1])
    if path.is_dir():
        found = sorted(path.glob("*.index"))
        if len(found) > 1:
            names = ", ".join(index.stem for index in found)
            raise InputError(f"{path} holds the checkpoints {names}: name one of them")
        return found[0].with_suffix("") if found else None
    return (
        path
        if _index(path).is_file() or any(path.parent.glob(f"{escape(path.name)}.data-*"))
        else None
    )


def load(prefix: Path) -> TFCheckpoint:
    """The table of contents of a checkpoint. Raises InputError if it is missing, damaged, or
    something else.
    """
    path = _index(prefix)
    try:
        table = sstable.read(path.read_bytes())
        if b"" not in table:
            raise ValueError("no header")
        header = _fields(table.pop(b""))
        order = ">" if _number(header, 2) else "<"
        entries = {name.decode(): _entry(_fields(value), order) for name, value in table.items()}
    except OSError as error:
        raise _unreadable(path, error) from error
    except (ValueError, struct.error) as error:
        raise InputError(
            f"{path} is not the index of a TensorFlow checkpoint, or is truncated or damaged: {error}"
        ) from error
    return TFCheckpoint(prefix, _number(header, 1), entries)


def _index(prefix: Path) -> Path:
    return Path(f"{prefix}.index")


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path} cannot be read ({error.strerror}); a checkpoint is its .index and .data files together"
    )


def _entry(fields: dict[int, list], order: str) -> Entry:
    """A BundleEntryProto."""
    shape = _fields(fields[2][-1]) if 2 in fields else {}
    sizes = tuple(_number(_fields(dimension), 1) for dimension in shape.get(2, []))
    dtype, sliced = DTYPES.get(_number(fields, 1)), 7 in fields
    return Entry(
        dtype=None if dtype is None or sliced else np.dtype(dtype).newbyteorder(order),
        shape=sizes,
        shard=_number(fields, 3),
        offset=_number(fields, 4),
        size=_number(fields, 5),
        checksum=_number(fields, 6),
    )


def _number(fields: dict[int, list], field: int) -> int:
    """A number of a message; 0 if it is left out."""
    value = fields.get(field, [0])[-1]
    if not isinstance(value, int):
        raise ValueError(f"field {field} of an entry is not a number")
    return value


def _fields(message: bytes) -> dict[int, list]:
    """The fields of a protocol buffer, by number: whole numbers, and bytes for strings and inner
    messages.
    """
    if not isinstance(message, bytes):
        raise ValueError("a number where a message belongs")
    fields: dict[int, list] = {}
    at = 0
    while at < len(message):
        tag, at = sstable.varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = sstable.varint(message, at)
        elif kind in (1, 5):
            (value,) = struct.unpack_from("<Q" if kind == 1 else "<I", message, at)
            at += 8 if kind == 1 else 4
        elif kind == 2:
            size, at = sstable.varint(message, at)
            value, at = message[at : at + size], at + size
            if at > len(message):
                raise ValueError("an entry is longer than its message")
        else:
            raise ValueError(f"an entry of unknown kind {kind}")
        fields.setdefault(tag >> 3, []).append(value)
    return fields
