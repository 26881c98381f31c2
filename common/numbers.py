"""Numbers in words, and those of masked arrays."""

from typing import Any

import numpy as np


def counted(number: int, thing: str) -> str:
    """1 epoch, 2 epochs."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def unmasked(values: Any) -> Any:
    """The values, of a masked array (or a list of some) as floats, NaN where they are masked: NumPy
    and PyTorch else take what lies beneath the mask.
    """
    if isinstance(values, list | tuple) and any(map(np.ma.isMaskedArray, values)):
        values = np.ma.stack(values)
    if np.ma.isMaskedArray(values):
        return values.astype(np.result_type(values, np.float32)).filled(np.nan)
    return values
