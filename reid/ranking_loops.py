"""The loops of the ranking, compiled by Numba; slow to import, hence on their first use.

Plain IEEE arithmetic in a fixed order: copies in the gallery are at the same distance.
"""

import numba
import numpy as np

from skeleton_reid.reid import jaccard_loops  # noqa: F401 - says when something is compiled

LANES = 4  # partial sums of a product
BUCKETS = 8192  # of distances from the nearest match to the farthest; one more for what is beyond


@numba.njit(nogil=True, cache=True)
def product(a, b):
    """<a, b> of vectors (n * LANES,)."""
    s = t = u = v = 0.0
    for n in range(0, len(a), LANES):
        s += a[n] * b[n]
        t += a[n + 1] * b[n + 1]
        u += a[n + 2] * b[n + 2]
        v += a[n + 3] * b[n + 3]
    return (s + t) + (u + v)


@numba.njit(nogil=True, cache=True)
def squares(x):
    """|x|^2 (N,) of x (N, n * LANES)."""
    return np.array([product(row, row) for row in x])


@numba.njit(nogil=True, cache=True)
def bucket(distance, low, scale):
    """The number of the bucket of a distance; it does not fall as the distance grows."""
    number = (distance - low) * scale
    number = number if number > 0 else 0.0
    return np.int32(number if number < BUCKETS else BUCKETS)


@numba.njit(nogil=True, cache=True)
def rank_rows(rows, products, off, probe, gallery, gallery_squares, members, rank, precision):
    """Fill the ranks (R, 2) of the nearest and the second match, and average precision (R,): the
    mean over matches p of |{matches: d <= d_p}| / |{all: d <= d_p}|; not where there is no match.

    rows: (R,) numbers of the probes; d = |gallery|^2 - 2 products (R, G), infinite if left out.
    off: for (P,) and (G,); products are off at most by two of them multiplied. probe, gallery:
    features that decide then (no columns: products are exact). members: gallery columns by person,
    and the first (P,) and last (P,) of each probe's own.
    """
    columns, first, last = members
    most = max((last - first).max(), 1)
    near, place, matches = np.empty(most), np.empty(most, dtype=np.int64), np.empty(most)
    below = np.empty(BUCKETS + 2, dtype=np.int32)  # matches in the buckets before each
    least, largest = np.empty((2, products.shape[1]), dtype=np.int32)  # buckets a column may be in
    for r in range(len(rows)):
        i, count = rows[r], 0
        for j in columns[first[i]:last[i]]:
            if np.isfinite(products[r, j]):
                exact = product(probe[i], gallery[j]) if probe.shape[1] else products[r, j]
                near[count], place[count] = gallery_squares[j] - 2 * exact, j
                count += 1
        if count == 0:
            continue
        matches[:count] = near[:count]
        matches[:count].sort()
        two = np.full(2, -1)  # columns of the nearest match and the second
        for n in range(count):
            if near[n] == matches[0] and two[0] < 0:
                two[0] = place[n]
            elif count > 1 and near[n] == matches[1] and two[1] < 0:
                two[1] = place[n]
        low = matches[0]
        scale = (BUCKETS - 1) / (matches[count - 1] - low) if matches[count - 1] > low else 1e30
        below[:] = 0
        for n in range(count):
            below[bucket(matches[n], low, scale) + 1] += 1
        for n in range(BUCKETS + 1):
            below[n + 1] += below[n]
        for j in range(len(least)):
            d = gallery_squares[j] - 2 * np.float64(products[r, j])
            margin = off[0][i] * off[1][j]
            least[j] = bucket(d - margin, low, scale)
            largest[j] = bucket(d + margin, low, scale)
        counts = np.zeros(count + 1, dtype=np.int64)  # of columns, by the first match not nearer
        behind = np.zeros(2, dtype=np.int64)  # columns as far as the two, but after them
        for j in range(len(least)):
            n = below[least[j]]
            if n < below[largest[j] + 1]:
                d = gallery_squares[j] - 2 * np.float64(products[r, j])
                margin = off[0][i] * off[1][j]
                while n < count and matches[n] < d - margin:
                    n += 1
                if n < count and matches[n] <= d + margin:
                    if probe.shape[1]:
                        d = gallery_squares[j] - 2 * product(probe[i], gallery[j])
                    while n < count and matches[n] < d:
                        n += 1
                    for which in range(min(2, count)):
                        behind[which] += d == matches[which] and j > two[which]
            counts[n] += 1
        precision[r], nearer, begin = 0.0, 0, 0
        for n in range(count):
            nearer += counts[n]
            if n < 2:
                rank[r, n] = nearer - behind[n]
            if n + 1 == count or matches[n + 1] > matches[n]:  # the last of equal ones
                precision[r] += (n + 1 - begin) * ((n + 1) / nearer)
                begin = n + 1
        precision[r] /= count
