"""Which frames SM-SGE reads: random subsets of every size, and the published other ways."""

import numpy as np

from common.errors import InputError

SUBSET_SIZES = ("1", "f/2", "f-1", "f", "all")


def draw_subsets(rng: np.random.RandomState, f: int, *, sample_num: int = 1, s_range: str = "all",
                 ord_sample: bool = False, bi: bool = False,
                 pred_margin: int = 0) -> list[np.ndarray]:
    """Subsets of 1 ... f frames, drawn without replacement, in time order, in `sample_num` rounds.

    s_range: only subsets of that size (1, f/2, f-1, f). ord_sample: the first frames instead of
    random ones. bi: as many subsets again, read backwards. pred_margin: leave out the last frames,
    which have no target. Raises InputError for settings under which there is no subset.
    """
    if bi and pred_margin:
        raise InputError("bi reads backwards, pred_margin predicts forwards: use one of them")
    last = f - pred_margin
    one = {"1": [1], "f/2": [f // 2], "f-1": [f - 1], "f": [f], "all": list(range(1, last + 1))}
    if s_range not in one:
        raise InputError(f"unknown s_range {s_range!r}; choose one of {', '.join(SUBSET_SIZES)}")
    sizes = one[s_range]
    if not sizes or not 1 <= sizes[0] <= last:
        raise InputError(f"f = {f} frames, {pred_margin} predicted ahead: no subset {s_range!r}")
    subsets = []
    for direction in (1, -1) if bi else (1,):
        for size in sizes * sample_num:
            drawn = range(size) if ord_sample else rng.choice(last, size=size, replace=False)
            subsets.append(np.sort(drawn)[::direction])
    return subsets
