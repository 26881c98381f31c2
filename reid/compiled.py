"""The inner loop of the Jaccard distance, compiled for the CPU by Numba.

One plain loop over the pairs that share a column. reid/jaccard.py has the same sums as array operations, for GPUs and
for machines without Numba; both add in the same order and give the same float32 numbers.
"""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def block_pairs(start, stop, first, column, value, place, ends, partner_row, partner_value, limit, i, j, d):
    """Pairs (row, partner) with start <= row < stop, row <= partner and distance <= limit.

    Rows in CSR form: entries first[r] ... first[r + 1] - 1 have `column`, `value` and stand at `place` in the order
    by columns, in which a column c ends before ends[c] and lists partner_row, partner_value by ascending row.
    i, j, d: arrays that take the pairs, as long as there are terms in the block. Returns the number of pairs.
    """
    m = np.zeros(len(first) - 1, dtype=np.float32)
    touched = np.empty(len(first) - 1, dtype=np.int64)
    found = 0
    one, two, zero = np.float32(1), np.float32(2), np.float32(0)
    for row in range(start, stop):
        count = 0
        for entry in range(first[row], first[row + 1]):
            for p in range(place[entry], ends[column[entry]]):
                other = partner_row[p]
                if m[other] == 0:
                    touched[count] = other
                    count += 1
                m[other] += min(value[entry], partner_value[p])
        for k in range(count):
            other = touched[k]
            distance = max(one - m[other] / (two - m[other]), zero)
            m[other] = 0
            if distance <= limit:
                i[found], j[found], d[found] = row, other, distance
                found += 1
    return found
