"""CRC-32C (Castagnoli), the checksum of TensorFlow's checkpoints, as array operations."""

import numpy as np

POLYNOMIAL = 0x82F63B78  # with the lowest bit first
LANES = 1024  # at most; with more, joining them costs more than it saves
# The four bytes that fill an empty register with ones, as the checksum wants it before the message.
ONES = bytes.fromhex("54641f64")


def masked_crc32c(data: bytes) -> int:
    """The checksum in the form in which it is stored beside data that may hold checksums
    themselves.
    """
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """The checksum of any bytes: the remainder of their division, as a polynomial over the bits, by
    POLYNOMIAL.

    Zeros in front do not change a remainder, so the message is filled up to equal lanes. They are
    divided side by side, four bytes at a time, and then joined two by two: r(ab) = r(a) shifted by
    the length of b, plus r(b).
    """
    size = len(ONES) + len(data)
    lanes = 1
    while lanes < LANES and lanes * lanes * 8 < size:
        lanes *= 2
    words = 1
    while words * lanes * 4 < size:
        words *= 2
    message = np.frombuffer((ONES + data).rjust(words * lanes * 4, b"\0"), "<u4").reshape(
        lanes, words
    )
    state = np.zeros(lanes, np.uint32)
    for word in message.T:
        state ^= word
        last, third, second, first = (TABLES[n][state >> 8 * (3 - n) & 255] for n in range(4))
        state = last ^ third ^ second ^ first
    shift = np.array([TABLES[3 - bit // 8][1 << bit % 8] for bit in range(32)])  # by four bytes
    for _ in range(words.bit_length() - 1):
        shift = _apply(shift, shift)  # by twice as many
    while len(state) > 1:
        state = _apply(shift, state[0::2]) ^ state[1::2]
        shift = _apply(shift, shift)
    return int(state[0]) ^ 0xFFFFFFFF


def _apply(shift: np.ndarray, states: np.ndarray) -> np.ndarray:
    """A linear map of many states (N,), given by the images (32,) of their single bits."""
    bits = (states >> np.arange(32, dtype=np.uint32)[:, None] & 1).astype(bool)  # (32, N)
    return np.bitwise_xor.reduce(np.where(bits, shift[:, None], np.uint32(0)))


def _tables() -> np.ndarray:
    """(4, 256) uint32: the remainder of a byte that has 0 ... 3 zero bytes behind it."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(POLYNOMIAL), table >> 1)
    tables = [table]
    for _ in range(3):
        tables.append(table[tables[-1] & 255] ^ tables[-1] >> 8)
    return np.stack(tables)


TABLES = _tables()
