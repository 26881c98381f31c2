"""Loops of the Jaccard distance and the neighbour search, compiled by Numba; slow to import.

Sums are float32 in the order of the released code; scalar products and exponentials are rounded
from float64. Sparse matrices are CSR: row n has the entries from first[n] to first[n + 1] - 1.
"""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def scalar_product(a, b):
    """In float64: the order of the sum does not matter to the float32 that it is rounded to."""
    total = 0.0
    for n in range(len(a)):
        total += np.float64(a[n]) * np.float64(b[n])
    return np.float32(total)


@numba.njit(nogil=True, cache=True)
def softmax_weights(features, first, column):
    """Softmax over the columns of each row of -(2 - 2 <x_row, x_column>), end to end, float32."""
    value = np.empty(len(column), dtype=np.float32)
    two = np.float32(2)
    for row in range(len(first) - 1):
        entries = range(first[row], first[row + 1])
        top, total = np.float32(-np.inf), np.float32(0)
        for n in entries:
            value[n] = two * scalar_product(features[row], features[column[n]]) - two
            top = max(top, value[n])
        for n in entries:
            value[n] = np.exp(np.float64(value[n] - top))
            total += value[n]
        for n in entries:
            value[n] /= total
    return value


@numba.njit(nogil=True, cache=True)
def close_pairs(start, stop, limit, v, by_column, count, column, value):
    """Pairs of row = start ... stop - 1 and partner >= row at a Jaccard distance (SimMC, section
    3.2) of at most `limit`: max(1 - m / (2 - m), 0), m = sum over columns of min(V_row, V_partner).

    v: first, column, value of V. by_column: first, row, value of its columns. Writes each row's
    number of partners to count (stop - start,), and end to end, in free order, these to column and
    their distances to value. Returns how many there are.
    """
    v_first, v_column, v_value = v
    c_first, c_row, c_value = by_column
    m = np.zeros(len(v_first) - 1, dtype=np.float32)
    touched = np.empty(len(v_first) - 1, dtype=np.int64)  # partners that share a column
    one, two, zero = np.float32(1), np.float32(2), np.float32(0)
    end = 0
    for row in range(start, stop):
        partners = 0
        for entry in range(v_first[row], v_first[row + 1]):
            own = slice(c_first[v_column[entry]], c_first[v_column[entry] + 1])
            for p in range(own.start + np.searchsorted(c_row[own], row), own.stop):
                partner = c_row[p]
                if m[partner] == 0:
                    touched[partners] = partner
                    partners += 1
                m[partner] += min(v_value[entry], c_value[p])
        begin = end
        for partner in touched[:partners]:
            distance = max(one - m[partner] / (two - m[partner]), zero)
            m[partner] = 0
            if distance <= limit:
                column[end], value[end] = partner, distance
                end += 1
        count[row - start] = end - begin
    return end


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def keep_nearest(bounds, numbers, k, factor, features, rows, margin, near, columns):
    """Put features among the nearest of rows (R,) if within a limit: factor * the k-th + margin.

    bounds (R, C): of squared distances, from below, to the features with these numbers (C,);
    margin (R,). near, columns (R, W > k): squared distances, ascending, and the features' numbers.
    """
    for r, row in enumerate(rows):
        limit = min(np.float32(factor * near[r, k - 1] + margin[r]), near[r, -1])
        for n in np.flatnonzero(bounds[r] <= limit):
            if bounds[r, n] > limit:
                continue
            distance, column = np.float32(0), numbers[n]
            for i in range(features.shape[1]):
                distance += (features[row, i] - features[column, i])**2
            if distance < near[r, -1]:
                place = near.shape[1] - 1
                while place and near[r, place - 1] > distance:
                    near[r, place], columns[r, place] = near[r, place - 1], columns[r, place - 1]
                    place -= 1
                near[r, place], columns[r, place] = distance, column
                limit = min(np.float32(factor * near[r, k - 1] + margin[r]), near[r, -1])
