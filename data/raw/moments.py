"""When frames were recorded: their numbers and times, as recorders spell them."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from dateutil import parser

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.datasets import NO_TIME
from skeleton_reid.data.skeleton import letters

RECORDERS = yaml.safe_load(Path(__file__).with_name("recorders.yaml").read_text())
NUMBERS, TIMES = RECORDERS["numbers"], RECORDERS["times"]
NUMBER = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d+)?")
TIMECODE = re.compile(r"(\d+:\d\d:\d\d)[:;](\d\d)")  # hours, minutes, seconds, frames
LARGEST_FRAME = 59  # of a second; more are hundredths
DAY = datetime(2000, 1, 1)  # of a time without a date
RATES = 5, 240  # frames a second, of the slowest and of the fastest recorder
HALF_DAY = 12 * 3600  # seconds, after which a clock begins again


def moments(columns: Mapping[str, Sequence[Any]], wanted: str,
            places: Sequence[str]) -> tuple[list, list, str]:
    """The numbers and the times of frames, None where they are not known; and which column does not
    count because its value cannot be read in all frames.

    columns: the values by name, as `letters` spells it. wanted: the name that a description gives;
    then InputError for what cannot be read. places: of the frames, in words.
    """
    known, unread = {"number": [None] * len(places), "time": [None] * len(places)}, ""
    usual = {"time": (letters(wanted),)} if wanted else {"number": NUMBERS, "time": TIMES}
    for kind, names in usual.items() if wanted != NO_TIME else ():
        if name := next((name for name in names if name in columns), ""):
            read = (frame_numbers if kind == "number" else times)(columns[name])
            if np.isfinite(read).all():
                known[kind] = read.tolist()
                continue
            unread, first = name, int(np.isfinite(read).argmin())
            if wanted:
                raise InputError(f"{places[first]} {wanted}: expected a number or a time, found "
                                 f"{columns[name][first]!r}; name another one or none (`time: "
                                 f"{NO_TIME}`)")
    return known["number"], known["time"], unread


def frame_numbers(values: Sequence[Any]) -> np.ndarray:
    """The numbers (T,) of frames: of numbers and of names that count, as v_12.jpg does; of other
    names the places in their order.
    """
    read = times(values)
    if np.isfinite(read).all() or not all(isinstance(value, str) and value for value in values):
        return read
    if counted := numbers_in(values):
        return np.array(counted, float)
    ordered = sorted(set(values), key=natural_key)
    return np.array([ordered.index(value) for value in values], float)


def numbers_in(names: Sequence[str]) -> list[int] | None:
    """The number that counts in names that differ in one number alone; None without one."""
    parts = [natural_key(name)[0] for name in names]
    if len({len(own) for own in parts}) > 1:
        return None
    varying = [own for own in zip(*parts, strict=True) if len(set(own)) > 1]
    return list(varying[0]) if len(varying) == 1 and isinstance(varying[0][0], int) else None


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sort key that takes digits in a name as a number, so that frame 10 follows frame 9."""
    parts: list[str | int] = re.split(r"(\d+)", name)
    parts[1::2] = map(int, parts[1::2])
    return parts, name


def times(values: Sequence[Any]) -> np.ndarray:
    """Times (T,) of numbers, with or without a unit, of dates and of clocks, in seconds; NaN for
    anything else. A clock that begins again at noon or at midnight goes on.
    """
    codes = [TIMECODE.fullmatch(str(value).strip()) for value in values]
    if codes and all(codes):
        return _of_timecodes([code[1] for code in codes], [int(code[2]) for code in codes])
    read = np.array([_time(str(value).strip()) for value in values], float)
    is_known = np.isfinite(read)
    if any(":" in str(value) for value in values):
        read[is_known] = np.unwrap(read[is_known], period=HALF_DAY)
    return read


def _of_timecodes(clocks: Sequence[str], frames: Sequence[int]) -> np.ndarray:
    """Times (T,) of clocks and of the frames since: in seconds where a second ends, whose last one
    tells how many it has, else in frames.
    """
    if len(set(clocks)) == 1:
        return np.array(frames, float)
    rate = max(frames) + 1 if max(frames) <= LARGEST_FRAME else 100
    seconds = np.array([_time(clock) for clock in clocks])
    return np.unwrap(seconds, period=HALF_DAY) + np.array(frames) / rate


@cache
def _time(text: str) -> float:
    if number := re.fullmatch(f"({NUMBER.pattern}) ?[a-zµ]*", text, re.IGNORECASE):
        return float(number[1].replace(",", "."))
    clock = re.sub(r"(:\d\d:\d\d):(\d{3})", r"\1.\2", text)  # before milliseconds
    clock = re.sub(r"(:\d\d:\d\d),(\d+)", r"\1.\2", clock)
    try:
        return parser.parse(clock, default=DAY).timestamp()
    except (ValueError, OverflowError):
        return float("nan")


def frames_a_second(step: float | None) -> float | None:
    """The rate for a step from frame to frame in a unit that is not known: seconds, ms, µs, 100 ns
    or ns; 0 where it is that of no recorder in any, None without a step.
    """
    rates = (1 / (step * unit) for unit in (1, 1e-3, 1e-6, 1e-7, 1e-9) if step)
    return next((rate for rate in rates if RATES[0] <= rate <= RATES[1]), 0.0 if step else None)
