"""A slow, obvious writer of TensorFlow checkpoints: what tensorflow_v1/bundle.py is tested
with.
"""

import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

DTYPES = {"f4": 1, "f8": 2, "i4": 3, "i8": 9, "f2": 19}


def crc32c(data: bytes) -> int:
    """Bit by bit up to a table of one byte."""
    remainder = 0xFFFFFFFF
    for byte in data:
        remainder = remainder >> 8 ^ TABLE[(remainder ^ byte) & 255]
    return remainder ^ 0xFFFFFFFF


def _divide(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


TABLE = [_divide(byte) for byte in range(256)]


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(8 * field) + varint(value) if value else b""


def message(field: int, content: bytes) -> bytes:
    return varint(8 * field + 2) + varint(len(content)) + content


def block(entries: list[tuple[bytes, bytes]], restart_every: int, compression: int = 0) -> bytes:
    """A block with its trailer. compression: the number written down; nothing is compressed."""
    out, restarts, last = b"", [], b""
    for n, (key, value) in enumerate(entries):
        shared = 0
        if n % restart_every == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        out += (varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:]
                + value)
        last = key
    out += struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))
    out += bytes([compression])
    return out + struct.pack("<I", masked(out))


def table(entries: Mapping[bytes, bytes], per_block: int, compression: int = 0) -> bytes:
    """A table file."""
    items, out, index = sorted(entries.items()), b"", []
    for first in range(0, len(items), per_block):
        content = block(items[first:first + per_block], 16, compression)
        index.append(
            (items[first:first + per_block][-1][0], varint(len(out)) + varint(len(content) - 5)))
        out += content
    handles = b""
    for content in (block([], 1), block(index, 1, compression)):
        handles += varint(len(out)) + varint(len(content) - 5)
        out += content
    return out + handles.ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")


def write(prefix: Path, variables: Mapping[str, np.ndarray], shards: int = 1, per_block: int = 1000,
          compression: int = 0, dtypes: Mapping[str, int] | None = None,
          checksum: Callable[[bytes], int] = masked) -> None:
    """Write a checkpoint; variables go to the shards in turn.

    dtypes: other type numbers to write down. checksum: of the arrays, a faster one for large ones.
    """
    prefix.parent.mkdir(parents=True, exist_ok=True)
    entries = {b"": number(1, shards) + message(3, number(1, 1))}
    data = [bytearray() for _ in range(shards)]
    for n, (name, array) in enumerate(sorted(variables.items())):
        dtype = array.dtype.newbyteorder("<")
        content, shard = np.asarray(array).astype(dtype).tobytes(), n % shards
        shape = b"".join(message(2, number(1, size)) for size in np.shape(array))
        kind = (dtypes or {}).get(name, DTYPES[array.dtype.str[1:]])
        entry = number(1, kind) + message(2, shape) + number(3, shard) + number(4, len(data[shard]))
        entry += number(5, len(content)) + varint(8 * 6 + 5) + struct.pack("<I", checksum(content))
        entries[name.encode()] = entry
        data[shard] += content
    Path(f"{prefix}.index").write_bytes(table(entries, per_block, compression))
    for shard, content in enumerate(data):
        Path(f"{prefix}.data-{shard:05d}-of-{shards:05d}").write_bytes(content)
