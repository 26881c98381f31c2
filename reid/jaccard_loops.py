"""The loops of the Jaccard distance, compiled by Numba; slow to import, hence on their first use.

Sums are float32 in the order of the released code; scalar products and exponentials are rounded
from float64. Loops over the rows start ... stop - 1 of a sparse matrix (CSR) write its entries end
to end to `column` and `value`, each row's number to `count` (stop - start,), and return their sum.
"""

import numba
import numpy as np
from numba.core import event

from skeleton_reid.common.log import log


class CompileNotice(event.Listener):
    """One line in the log when Numba begins to compile; with the loops in its cache it does not."""

    said = False

    def on_start(self, event) -> None:
        if not self.said:
            log.info("compiling loops, once: a few seconds")
        self.said = True

    def on_end(self, event) -> None:
        """Required of a listener."""


NOTICE = CompileNotice()
event.register("numba:compile", NOTICE)


@numba.njit(nogil=True, cache=True)
def reciprocal_rows(start, stop, rank, half_count, half, features, count, column, value):
    """Rows of V before query expansion: softmax weights on the expanded reciprocal neighbours R*,
    columns ascending. rank: (N, k1). half_count (N,), half: members of each R_half.
    """
    k1 = rank.shape[1]
    reciprocal = np.full(len(rank), -1, dtype=np.int64)  # row whose R holds the column
    expanded = np.full(len(rank), -1, dtype=np.int64)  # row whose R* holds it
    end = 0
    for row in range(start, stop):
        begin = end
        for p in range(k1):
            c = rank[row, p]
            for q in range(k1):
                if rank[c, q] == row:
                    reciprocal[c] = expanded[c] = row
                    column[end] = c
                    end += 1
                    break
        for entry in range(begin, end):
            c = column[entry]
            shared = 0
            for q in range(half_count[c]):
                shared += reciprocal[half[c, q]] == row
            if 3 * shared > 2 * half_count[c]:  # |R_half(c) ∩ R(row)| > 2/3 |R_half(c)|
                for q in range(half_count[c]):
                    if expanded[half[c, q]] != row:
                        expanded[half[c, q]] = row
                        column[end] = half[c, q]
                        end += 1
        column[begin:end].sort()
        softmax_weights(features, row, column[begin:end], value[begin:end])
        count[row - start] = end - begin
    return end


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def scalar_product(a, b):
    """In float64: the order of the sum does not matter to the float32 that it is rounded to."""
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
def mean_rows(start, stop, near, in_first, in_column, in_value, count, column, value):
    """Query expansion: the mean of the rows near[row] of a matrix, columns ascending."""
    total = np.zeros(len(near), dtype=np.float32)
    reached = np.full(len(near), -1, dtype=np.int64)  # row that has the column
    end = 0
    for row in range(start, stop):
        begin = end
        for other in near[row]:
            for entry in range(in_first[other], in_first[other + 1]):
                c = in_column[entry]
                if reached[c] != row:
                    reached[c] = row
                    total[c] = 0
                    column[end] = c
                    end += 1
                total[c] += in_value[entry]
        column[begin:end].sort()
        for entry in range(begin, end):
            value[entry] = total[column[entry]] / np.float32(near.shape[1])
        count[row - start] = end - begin
    return end


@numba.njit(nogil=True, cache=True)
def distance_rows(start, stop, limit, v, by_column, place, count, column, value):
    """Jaccard distances (SimMC, section 3.2) of at most `limit` to partners >= row, in free order:
    max(1 - m / (2 - m), 0), m = sum over columns of min(V[row], V[partner]).

    v: first, column, value of V. by_column: first, row, value, by columns. place: of v in these.
    """
    v_first, v_column, v_value = v
    c_first, c_row, c_value = by_column
    m = np.zeros(len(v_first) - 1, dtype=np.float32)
    touched = np.empty(len(v_first) - 1, dtype=np.int64)  # partners that share a column
    end = 0
    one, two, zero = np.float32(1), np.float32(2), np.float32(0)
    for row in range(start, stop):
        partners = 0
        for entry in range(v_first[row], v_first[row + 1]):
            for p in range(place[entry], c_first[v_column[entry] + 1]):
                partner = c_row[p]
                if m[partner] == 0:
                    touched[partners] = partner
                    partners += 1
                m[partner] += min(v_value[entry], c_value[p])
        begin = end
        for n in range(partners):
            partner = touched[n]
            distance = max(one - m[partner] / (two - m[partner]), zero)
            m[partner] = 0
            if distance <= limit:
                column[end], value[end] = partner, distance
                end += 1
        count[row - start] = end - begin
    return end
