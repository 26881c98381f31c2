"""Read TensorFlow's checkpoints (format V2, of TensorFlow 1 and 2) without TensorFlow.

A checkpoint `best.ckpt` is an index of its variables, best.ckpt.index, and the bytes of the arrays,
best.ckpt.data-00000-of-00001 or several such shards. Its graph, best.ckpt.meta, is not needed.

The index is a table of LevelDB (https://github.com/google/leveldb/blob/main/doc/table_format.md):
blocks of sorted keys and values, and a footer that names the block which lists the others. Its
values are protocol buffers (tensorflow/core/protobuf/tensor_bundle.proto): a BundleHeaderProto
below the empty key, a BundleEntryProto below the name of each variable.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from operator import index
from pathlib import Path

import google_crc32c
import numpy as np

from common.errors import InputError

FILE = re.compile(r"(.+)\.(?:index|meta|data-\d{5}-of-\d{5})")
MAGIC = bytes.fromhex("57fb808b247547db")
# The numbers of tensorflow/core/framework/types.proto that variables of these methods have.
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 10: "?", 19: "<f2"}


@dataclass(frozen=True)
class Entry:
    """Where an array lies, in bytes. dtype: None for other types and arrays stored in slices."""

    path: Path
    dtype: str | None
    shape: tuple[int, ...]
    offset: int
    size: int
    checksum: int


def find(path: Path) -> Path | None:
    """The prefix of the checkpoint that a path names, such as best.ckpt; None if it names none.

    path: the prefix itself, one of its files, or a folder with one checkpoint in it.
    """
    folder = path if path.is_dir() else path.parent
    name = None if path.is_dir() else FILE.sub(r"\1", path.name)
    matches = (FILE.fullmatch(file.name) for file in folder.glob("*"))
    names = sorted({match[1] for match in matches if match and name in (None, match[1])})
    if len(names) > 1:
        raise InputError(f"{path} holds the checkpoints {', '.join(names)}: name one of them")
    return folder / names[0] if names else None


def load(prefix: Path) -> dict[str, Entry]:
    """The variables of a checkpoint. Raises InputError if it is missing, damaged, or another."""
    path = Path(f"{prefix}.index")
    content = _content(path)
    try:
        table = _table(content)
        shards = _number(_fields(table.pop(b"", b"")), 1)
        return {name.decode(): _entry(value, prefix, shards) for name, value in table.items()}
    except (ValueError, TypeError) as error:  # TypeError: a number where bytes belong, or bytes
        raise InputError(
            f"{path} is not a TensorFlow checkpoint's index, or is truncated or damaged: {error}"
        ) from error


def read(entries: Mapping[str, Entry]) -> dict[str, np.ndarray]:
    """The arrays of variables. Raises InputError where one is damaged or not numbers."""
    shards = {path: _content(path) for path in sorted({entry.path for entry in entries.values()})}
    return {name: _array(name, entry, shards[entry.path]) for name, entry in entries.items()}


def masked_crc32c(data: bytes) -> int:
    """CRC-32C, masked since the data may hold checksums themselves."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); "
            "a checkpoint is its .index and .data files together"
        ) from error


def _array(name: str, entry: Entry, shard: bytes) -> np.ndarray:
    """The array of an entry, from the content of its file."""
    variable = f"{entry.path}: variable {name!r}"
    if entry.dtype is None:
        raise InputError(f"{variable} is not a whole array of numbers")
    wanted = prod(entry.shape) * np.dtype(entry.dtype).itemsize
    data = shard[entry.offset : entry.offset + entry.size]
    if not len(data) == entry.size == wanted:
        raise InputError(
            f"{variable} of shape {list(entry.shape)} needs {wanted} bytes, found {len(data)}; "
            "the file is truncated or belongs to another .index"
        )
    if masked_crc32c(data) != entry.checksum:
        raise InputError(f"{variable} has a wrong checksum; the file is damaged")
    return np.frombuffer(data, entry.dtype).reshape(entry.shape).copy()


class _Reader:
    """Bytes that are read from the front; ValueError where they end too early."""

    def __init__(self, data: bytes):
        self.rest = data

    def take(self, size: int) -> bytes:
        if size > len(self.rest):
            raise ValueError("an entry reaches beyond its end")
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken

    def varint(self) -> int:
        """A number of 7 bits a byte, the lowest first; the last byte is below 128."""
        value = 0
        for shift in range(0, 64, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a number without an end")


def _table(data: bytes) -> dict[bytes, bytes]:
    """Keys and values of a table file."""
    if data[-8:] != MAGIC:
        raise ValueError("the mark at its end is missing")
    footer, table = _Reader(data[-48:-8]), {}
    _block(data, footer)  # the meta index, which is empty
    for handle in _block(data, footer).values():
        table |= _block(data, _Reader(handle))
    return table


def _block(data: bytes, handle: _Reader) -> dict[bytes, bytes]:
    """Keys and values of the block whose offset and size a handle holds.

    Entries (lengths of the prefix shared with the key before, of the rest of the key and of the
    value; both), restart points and their number; behind it a byte for compression and a checksum.
    """
    start = handle.varint()
    end = start + handle.varint()
    if masked_crc32c(data[start : end + 1]) != int.from_bytes(data[end + 1 : end + 5], "little"):
        raise ValueError("the checksum of a block is wrong or lost")
    if data[end] != 0:
        raise ValueError("a block is compressed, as TensorFlow's never are")
    restarts = int.from_bytes(data[end - 4 : end], "little")
    reader = _Reader(data[start : max(start, end - 4 * (restarts + 1))])
    entries, key = {}, b""
    while reader.rest:
        shared, rest, size = (reader.varint() for _ in range(3))
        key = key[:shared] + reader.take(rest)
        entries[key] = reader.take(size)
    return entries


def _fields(message: bytes) -> dict[int, list]:
    """The fields of a protocol buffer, by number: whole numbers, and bytes of inner messages."""
    reader, fields = _Reader(message), {}
    while reader.rest:
        field, kind = divmod(reader.varint(), 8)
        if kind == 0:
            value = reader.varint()
        elif kind == 2:
            value = reader.take(reader.varint())
        elif kind in (1, 5):
            value = int.from_bytes(reader.take(8 if kind == 1 else 4), "little")
        else:
            raise ValueError(f"a field of unknown kind {kind}")
        fields.setdefault(field, []).append(value)
    return fields


def _number(fields: dict[int, list], field: int) -> int:
    """A number of a message; 0 if it is left out."""
    return index(fields.get(field, [0])[-1])


def _entry(message: bytes, prefix: Path, shards: int) -> Entry:
    """A BundleEntryProto."""
    fields = _fields(message)
    shape = _fields(fields.get(2, [b""])[-1])
    return Entry(
        path=Path(f"{prefix}.data-{_number(fields, 3):05d}-of-{shards:05d}"),
        dtype=None if 7 in fields else DTYPES.get(_number(fields, 1)),  # 7: the slices
        shape=tuple(_number(_fields(dimension), 1) for dimension in shape.get(2, [])),
        offset=_number(fields, 4),
        size=_number(fields, 5),
        checksum=_number(fields, 6),
    )
