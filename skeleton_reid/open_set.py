"""Open-set identification: search among the enrolled, and the errors of a threshold."""

from typing import Any

import numpy as np

from skeleton_reid.common.errors import InputError
from skeleton_reid.reid.neighbours import by_faiss, candidates, faiss_index

SAME = 1e-5  # distance up to which features are those of one recording, but for rounding


def nearest_rows(query: np.ndarray, rows: np.ndarray, count: int, search: str = "torch",
                 index: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and Euclidean distances of the rows (N, d) nearest to a query (d,), float32.

    Both are (min(count, N),), ascending; of equal distances the lower number is first. search:
    "faiss" finds the rows that can be among them, whose distances are then computed in float64.
    index: faiss's of the rows, if there is one.
    """
    count, numbers = min(count, len(rows)), np.arange(len(rows))
    if by_faiss(search, count, len(rows)):
        near, sure = candidates(index or faiss_index(rows), query[None], count)
        numbers = np.sort(near[0]) if sure[0] else numbers
    distances = np.linalg.norm(rows[numbers] - query.astype(np.float64), axis=1)
    order = np.argsort(distances, kind="stable")[:count]
    return numbers[order], distances[order]


def error_rates(genuine: list[float], impostor: list[float]) -> dict[str, np.ndarray]:
    """False acceptance (FAR) and false rejection (FRR) by threshold, ascending, (M,) each.

    genuine: distances of recordings to their own person; impostor: to the nearest other one. A
    recording is accepted up to the threshold. InputError if one kind is missing.
    """
    if not genuine or not impostor:
        raise InputError(
            f"expected recordings of enrolled persons that are not enrolled themselves, and two "
            f"persons; found {len(genuine)} genuine and {len(impostor)} impostor distances")
    thresholds = np.unique([*genuine, *impostor])
    FAR = np.searchsorted(np.sort(impostor), thresholds, side="right") / len(impostor)
    FRR = 1 - np.searchsorted(np.sort(genuine), thresholds, side="right") / len(genuine)
    return {"threshold": thresholds, "FAR": FAR, "FRR": FRR}
