"""argparse types of numbers; numbers of masked arrays."""

import argparse
import math
from collections.abc import Callable
from typing import Any

import numpy as np


def counted(number: int, thing: str) -> str:
    """1 epoch, 2 epochs."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def number(words: str, allowed: Callable[[Any], bool],
           kind: type = float) -> Callable[[str], int | float]:
    """An argparse type: a finite number, float or int, that is `allowed`, as `words` say."""
    def parse(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if value != value or abs(value) == math.inf or not allowed(value):
            raise argparse.ArgumentTypeError(f"expected {words}, found {text!r}")
        return value

    return parse


positive_int = number(f"a whole number of at least 1 and at most {10**9}",
                      lambda x: 1 <= x <= 10**9, int)
seed_number = number(f"a whole number from 0 to {2**32 - 1}", lambda x: 0 <= x < 2**32, int)
positive = number("a number above 0", lambda x: x > 0)
not_negative = number("a number of at least 0", lambda x: x >= 0)
share = number("a number from 0 to 1", lambda x: 0 <= x <= 1)
below_one = number("a number above 0 and below 1", lambda x: 0 < x < 1)
probability = number("a number of at least 0 and below 1", lambda x: 0 <= x < 1)


def seed_numbers(text: str) -> tuple[int, ...]:
    """argparse type: how many seeds, from 0 on, or the seeds themselves, separated by commas."""
    several = "," in text
    try:
        seeds = [*map(seed_number, text.split(","))] if several else range(positive_int(text))
    except argparse.ArgumentTypeError:
        seeds = ()
    if not seeds or len({*seeds}) < len(seeds):
        raise argparse.ArgumentTypeError("expected how many seeds, as 3, or different ones, as "
                                         f"0,4,7, found {text!r}")
    return tuple(seeds)


def visible(text: str) -> str:
    """argparse type: a name, of which something can be seen."""
    if not text.isprintable() or not text.strip():
        raise argparse.ArgumentTypeError(f"expected letters that can be seen, found {text!r}")
    return text.strip()


def unmasked(values: Any) -> Any:
    """The values, of a masked array (or a list of some) as floats, NaN where they are masked: NumPy
    and PyTorch else take what lies beneath the mask.
    """
    if isinstance(values, list | tuple) and any(map(np.ma.isMaskedArray, values)):
        values = np.ma.stack(values)
    if np.ma.isMaskedArray(values):
        return values.astype(np.result_type(values, np.float32)).filled(np.nan)
    return values
