"""The loops of the Jaccard distance, compiled for the CPU by Numba: encoding, and pairs.

reid/jaccard.py has the same as array operations, for GPUs and for machines without Numba. Both add
in the same order and give the same float32 numbers; scalar products and exponentials are taken in
float64 and rounded.
"""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def block_pairs(
    start, stop, first, column, value, place, ends, partner_row, partner_value, limit, i, j, d
):
    """Pairs (row, partner) with start <= row < stop, row <= partner and distance <= limit.

    Rows in CSR form: entries first[r] ... first[r + 1] - 1 have `column`, `value` and stand at
    `place` in the order by columns, in which a column c ends before ends[c] and lists partner_row,
    partner_value by ascending row. i, j, d: arrays that take the pairs, as long as there are terms
    in the block. Returns the number of pairs.
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


@numba.njit(nogil=True, cache=True)
def half_lists(rank, half):
    """R_half: how many of the first `half` neighbours of each row name the row among theirs, and
    (N, half) which.
    """
    count = np.zeros(len(rank), dtype=np.int64)
    members = np.empty((len(rank), half), dtype=np.int64)
    for row in range(len(rank)):
        for p in range(half):
            c = rank[row, p]
            for q in range(half):
                if rank[c, q] == row:
                    members[row, count[row]] = c
                    count[row] += 1
                    break
    return count, members


@numba.njit(nogil=True, cache=True)
def reciprocal_rows(start, stop, rank, half_count, half, features, count, column, value):
    """Rows start ... stop - 1 of V before query expansion: softmax weights on the expanded
    reciprocal neighbours.

    rank: (N, k1); half_count, half: from half_lists. Writes the entries end to end to column and
    value, by ascending column, zeros left out, and their number to count[row - start]. Returns how
    many there are.
    """
    k1 = rank.shape[1]
    member = np.full(len(rank), -1, dtype=np.int64)  # row whose R(row) holds the column
    taken = np.full(len(rank), -1, dtype=np.int64)  # row whose expanded set holds it
    found = 0
    for row in range(start, stop):
        begin = found
        for p in range(k1):
            c = rank[row, p]
            for q in range(k1):
                if rank[c, q] == row:
                    member[c] = taken[c] = row
                    column[found] = c
                    found += 1
                    break
        for place in range(begin, found):
            c = column[place]
            shared = 0
            for q in range(half_count[c]):
                shared += member[half[c, q]] == row
            if 3 * shared > 2 * half_count[c]:
                for q in range(half_count[c]):
                    if taken[half[c, q]] != row:
                        taken[half[c, q]] = row
                        column[found] = half[c, q]
                        found += 1
        column[begin:found].sort()
        softmax_weights(features, row, column[begin:found], value[begin:found])
        kept = begin
        for place in range(begin, found):
            if value[place] > 0:
                column[kept], value[kept] = column[place], value[place]
                kept += 1
        found = kept
        count[row - start] = found - begin
    return found


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def scalar_product(a, b):
    """In float64, so that the order of the sum does not matter to the float32 that it is rounded
    to.
    """
    total = 0.0
    for n in range(len(a)):
        total += np.float64(a[n]) * np.float64(b[n])
    return np.float32(total)


@numba.njit(nogil=True, cache=True)
def softmax_weights(features, row, column, value):
    """Softmax over the columns of -(2 - 2 <x_row, x_column>), written to value."""
    if len(column) == 0:
        return
    two = np.float32(2)
    for n in range(len(column)):
        value[n] = two * scalar_product(features[row], features[column[n]]) - two
    top, total = value.max(), np.float32(0)
    for n in range(len(column)):
        value[n] = np.exp(np.float64(value[n] - top))
        total += value[n]
    for n in range(len(column)):
        value[n] /= total


@numba.njit(nogil=True, cache=True)
def mean_rows(start, stop, near, first, column, value, count, out_column, out_value):
    """Query expansion: each row's mean over the rows near[row] of a matrix in CSR form, zeros left
    out.

    Writes as reciprocal_rows does and returns how many entries there are.
    """
    total = np.zeros(len(near), dtype=np.float32)
    reached = np.full(len(near), -1, dtype=np.int64)
    found = 0
    for row in range(start, stop):
        begin = found
        for other in near[row]:
            for entry in range(first[other], first[other + 1]):
                c = column[entry]
                if reached[c] != row:
                    reached[c] = row
                    total[c] = 0
                    out_column[found] = c
                    found += 1
                total[c] += value[entry]
        out_column[begin:found].sort()
        kept = begin
        for place in range(begin, found):
            c = out_column[place]
            mean = total[c] / np.float32(near.shape[1])
            if mean > 0:
                out_column[kept], out_value[kept] = c, mean
                kept += 1
        found = kept
        count[row - start] = found - begin
    return found


@numba.njit(nogil=True, cache=True)
def by_column(first, column, value, ends, place, row, column_value):
    """The entries of a matrix in CSR form in the order by column, then row: their place, row and
    value there.

    ends: (N,) zeros on entry; on return the place at which each column ends.
    """
    for c in column:
        ends[c] += 1
    total = 0
    for c in range(len(ends)):
        ends[c], total = total, total + ends[c]
    for r in range(len(first) - 1):
        for entry in range(first[r], first[r + 1]):
            p = ends[column[entry]]
            ends[column[entry]] += 1
            place[entry], row[p], column_value[p] = p, r, value[entry]
