"""Read TensorFlow's checkpoints (format V2, of TensorFlow 1 and 2) without TensorFlow.

A checkpoint `best.ckpt` is an index of its variables, best.ckpt.index, and the bytes of the arrays,
best.ckpt.data-00000-of-00001 or several such shards. The index is a table of LevelDB
(https://github.com/google/leveldb/blob/main/doc/table_format.md): blocks of sorted keys and values,
and a footer that names the block which lists the others. Its values are protocol buffers
(tensorflow/core/protobuf/tensor_bundle.proto): a BundleHeaderProto below the empty key, a
BundleEntryProto below the name of each variable.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from math import prod
from operator import index
from pathlib import Path

import google_crc32c
import numpy as np

from skeleton_reid.common.errors import InputError

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
    names = {match[1] for file in folder.glob("*") if (match := FILE.fullmatch(file.name))}
    if not path.is_dir():
        names &= {FILE.sub(r"\1", path.name)}
    if len(names) > 1:
        raise InputError(f"{path} holds {', '.join(sorted(names))}: name one of them")
    return folder / names.pop() if names else None


def load(prefix: Path) -> dict[str, Entry]:
    """The variables of a checkpoint. Raises InputError if it is missing, damaged, or another."""
    path = Path(f"{prefix}.index")
    try:
        table = _table(_content(path))
        shards = index(dict(_fields(table.pop(b"", b""))).get(1, 0))
        return {name.decode(): _entry(value, prefix, shards) for name, value in table.items()}
    except (ValueError, IndexError, OverflowError, TypeError) as error:
        raise InputError(f"{path} is damaged or no TensorFlow index: {error}") from error


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
        need = "a checkpoint is its .index and .data files together"
        raise InputError(f"{path} cannot be read ({error.strerror}); {need}") from error


def _array(name: str, entry: Entry, shard: bytes) -> np.ndarray:
    """The array of an entry, from the content of its file."""
    variable = f"{entry.path}: variable {name!r}"
    if entry.dtype is None:
        raise InputError(f"{variable} is not a whole array of numbers")
    wanted = prod(entry.shape) * np.dtype(entry.dtype).itemsize
    data = shard[entry.offset:entry.offset + entry.size]
    if not len(data) == entry.size == wanted or masked_crc32c(data) != entry.checksum:
        raise InputError(f"{variable}: expected {wanted} bytes with their checksum; truncated?")
    return np.frombuffer(data, entry.dtype).reshape(entry.shape).copy()


def _table(data: bytes) -> dict[bytes, bytes]:
    """Keys and values of a table file."""
    if data[-8:] != MAGIC:
        raise ValueError("the mark at its end is missing")
    footer, table = BytesIO(data[-48:-8]), {}
    _block(data, footer)  # the meta index, which is empty
    for handle in _block(data, footer).values():
        table |= _block(data, BytesIO(handle))
    return table


def _block(data: bytes, handle: BytesIO) -> dict[bytes, bytes]:
    """Keys and values of the block whose offset and size a handle holds.

    Entries (lengths of the prefix shared with the key before, of the rest of the key and of the
    value; both), restart points and their number; behind it a byte for compression and a checksum.
    """
    start = _varint(handle)
    end = start + _varint(handle)
    if masked_crc32c(data[start:end + 1]) != int.from_bytes(data[end + 1:end + 5], "little"):
        raise ValueError("the checksum of a block is wrong or lost")
    if data[end] != 0:
        raise ValueError("a block is compressed, as TensorFlow's never are")
    restarts = int.from_bytes(data[end - 4:end], "little")
    size = end - 4 * (restarts + 1) - start
    stream, entries, key = BytesIO(data[start:end]), {}, b""
    while stream.tell() < size:
        shared, rest, length = (_varint(stream) for _ in range(3))
        key = key[:shared] + stream.read(rest)
        entries[key] = stream.read(length)
    return entries


def _varint(stream: BytesIO) -> int:
    """A number of 7 bits a byte, the lowest first; the last byte is below 128."""
    byte = stream.read(1)[0]  # IndexError at the end
    return byte if byte < 128 else byte - 128 + (_varint(stream) << 7)


def _fields(message: bytes) -> list[tuple[int, int | bytes]]:
    """Number and value of each field of a protocol buffer: a whole number, or an inner message."""
    stream, fields = BytesIO(message), []
    while stream.tell() < len(message):
        field, kind = divmod(_varint(stream), 8)
        if kind not in (0, 2, 5):
            raise ValueError(f"a field of unknown kind {kind}")
        value = int.from_bytes(stream.read(4), "little") if kind == 5 else _varint(stream)
        fields.append((field, stream.read(value) if kind == 2 else value))
    return fields


def _entry(message: bytes, prefix: Path, shards: int) -> Entry:
    """A BundleEntryProto; a number that is 0 is left out in it."""
    fields = {2: b"", 3: 0, 4: 0, 5: 0, 6: 0} | dict(_fields(message))
    sizes = [dict(_fields(size)).get(1, 0) for field, size in _fields(fields[2]) if field == 2]
    path = Path(f"{prefix}.data-{index(fields[3]):05d}-of-{shards:05d}")
    dtype = None if 7 in fields else DTYPES.get(fields.get(1))  # 7: the slices
    return Entry(path, dtype, tuple(map(index, sizes)), *(index(fields[n]) for n in (4, 5, 6)))
