"""The table files of LevelDB, which TensorFlow keeps the index of a checkpoint in: sorted keys and
their values.

A file is blocks and a footer. A block is entries (length of the prefix shared with the key before,
lengths of the rest of the key and of the value, both), restart points and their number, and behind
it a byte for its compression and a CRC-32C. The footer names the index block, whose values say
where the data blocks lie. https://github.com/google/leveldb/blob/main/doc/table_format.md
"""

import struct
from collections.abc import Iterator

from tensorflow_v1.crc32c import masked_crc32c

FOOTER = 48
MAGIC = bytes.fromhex("57fb808b247547db")


def read(data: bytes) -> dict[bytes, bytes]:
    """Keys and values of a table file. Raises ValueError if it is none, truncated or damaged."""
    if len(data) < FOOTER or data[-8:] != MAGIC:
        raise ValueError("the mark at its end is missing")
    footer = data[-FOOTER:-8]
    _, at = _handle(footer, 0)  # of the meta index, which is empty
    index, _ = _handle(footer, at)
    table: dict[bytes, bytes] = {}
    for _, value in _entries(_block(data, *index)):
        table.update(_entries(_block(data, *_handle(value, 0)[0])))
    return table


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and where it ends. Raises ValueError if it does
    not.
    """
    value = shift = 0
    while at < len(data) and shift < 64:
        value |= (data[at] & 127) << shift
        if data[at] < 128:
            return value, at + 1
        at, shift = at + 1, shift + 7
    raise ValueError("a number without an end")


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Offset and size of a block, and where they end."""
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return (offset, size), at


def _block(data: bytes, offset: int, size: int) -> bytes:
    """The content of a block, checked and without compression."""
    if offset + size + 5 > len(data) - FOOTER:
        raise ValueError("a block reaches beyond its end")
    content, kind = data[offset : offset + size], data[offset + size]
    (expected,) = struct.unpack_from("<I", data, offset + size + 1)
    if masked_crc32c(data[offset : offset + size + 1]) != expected:
        raise ValueError("the checksum of a block is wrong")
    if kind not in (0, 1):
        raise ValueError(f"a block of unknown compression {kind}")
    return uncompress(content) if kind == 1 else content


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block."""
    if len(block) < 4:
        raise ValueError("an empty block")
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 - 4 * restarts
    key, at = b"", 0
    while at < end:
        shared, at = varint(block, at)
        rest, at = varint(block, at)
        size, at = varint(block, at)
        if shared > len(key) or at + rest + size > end:
            raise ValueError("an entry reaches beyond its block")
        key = key[:shared] + block[at : at + rest]
        yield key, block[at + rest : at + rest + size]
        at += rest + size


def uncompress(data: bytes) -> bytes:
    """Undo snappy's compression: literals, and copies of what stands before. Raises ValueError for
    other data.
    """
    expected, at = varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag, at = data[at], at + 1
        if tag & 3 == 0:
            extra = max(0, (tag >> 2) - 59)  # bytes that hold the length, if it is above 60
            length = (
                int.from_bytes(data[at : at + extra], "little") + 1 if extra else (tag >> 2) + 1
            )
            at += extra
            if at + length > len(data):
                break
            out += data[at : at + length]
            at += length
            continue
        extra = (1, 2, 4)[(tag & 3) - 1]
        length = (tag >> 2 & 7) + 4 if tag & 3 == 1 else (tag >> 2) + 1
        back = int.from_bytes(data[at : at + extra], "little") | (
            tag >> 5 << 8 if tag & 3 == 1 else 0
        )
        at += extra
        if not 0 < back <= len(out):
            raise ValueError("a compressed block is damaged")
        for _ in range(length):  # the copy may reach into itself
            out.append(out[-back])
    if len(out) != expected:
        raise ValueError("a compressed block is damaged")
    return bytes(out)
