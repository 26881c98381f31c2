"""Readers of text: CSV and TRC, by their columns, and NTU RGB+D's `.skeleton` files."""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import numpy as np

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.yaml_files import expected_one
from skeleton_reid.data.datasets import OwnData
from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.people import Frame, Person
from skeleton_reid.data.raw.recordings import NUMBERS, TIMES, letters, read_lines
from skeleton_reid.data.skeleton import Skeleton

# Columns by their usual names, as `letters` spells them.
TRACKS = ("trackingid", "trackid", "bodyid", "personid", "bodyindex", "userid", "skeletonid")
JOINTS = ("joint", "jointid", "jointname", "jointtype", "landmark", "landmarkid")
LOST = ("", "na", "n/a", "#n/a", "null", "none", "nan", "-nan", "-nan(ind)", "nan(ind)", "-1.#ind",
        "1.#ind", "1.#qnan", "-1.#qnan")
STATES = {"nottracked": 0.0, "inferred": 1.0, "tracked": 2.0}
NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?([eE][-+]?\d+)?")
LINES_BEFORE = 50  # among which a header is looked for


def read_csv(path: Path, source: OwnData, skeleton: Skeleton) -> Iterator[Frame]:
    """The frames of a table, a line a frame or, if `columns` has no {joint}, a line a joint.

    Names of columns may differ in case and in signs between the words. InputError for missing
    columns, other numbers of cells than the header's, and cells that are no numbers.
    """
    lines = read_lines(path)
    sign = _separator(lines)
    rows = [[cell.strip() for cell in row]
            for row in csv.reader(lines, delimiter=sign, skipinitialspace=True)]
    joints = [joint for joint in skeleton.joints if joint not in source.ignore]
    long = "{joint}" not in source.columns
    wanted = [source.joint_columns(joint) for joint in (joints[:1] if long else joints)]
    first, header = _header(rows, source, skeleton, wanted, path)
    places = {letters(name): i for i, name in reversed(list(enumerate(header)))}
    columns = [[places[letters(name)] for name in own] for own in wanted]
    spelled = Counter(map(letters, header))
    if twice := [header[i] for own in columns for i in own if spelled[letters(header[i])] > 1]:
        raise broken(path, f"one column {twice[0]}", "several", "name them apart (`header`)")
    rows = _of_one_width(rows, first, len(header), path)
    text = "".join(row[i] for _, row in rows for own in columns for i in own)
    decimal = source.decimal or ("," if "," in text and "." not in text else ".")
    number = None if source.time else _column("", NUMBERS, places, path)
    time = _column(source.time, TIMES, places, path)
    track = _column(source.track, TRACKS, places, path)
    joint = _column(source.joint, JOINTS, places, path)
    if long and joint is None:
        raise broken(path, "a column that names the joint (`joint`)", ", ".join(header))
    numbered = {str(i): own for i, own in enumerate(skeleton.joints)}
    named = {letters(source.joint_names.get(own, own)): own for own in joints}
    poses: dict[tuple, np.ndarray] = {}  # by track, number, time and how often they were seen
    times: Counter[tuple] = Counter()
    for line, row in rows:
        cells = [[_value(row[i], decimal, path, line, header[i]) for i in own] for own in columns]
        moment = ("" if track is None else row[track], _moment(row, number, decimal),
                  _moment(row, time, decimal))
        if source.time and moment[-1] is None:
            place = f"line {line}, column {source.time}"
            raise broken(path, "a number or a time", row[time], place=place)
        own = named.get(letters(row[joint]), numbered.get(row[joint])) if long else None
        times[moment, own] += 1
        if not long:
            poses[moment, times[moment, own]] = np.array(cells)
        elif own in joints:
            pose = poses.setdefault((moment, times[moment, own]),
                                    np.full((len(joints), len(cells[0])), np.nan))
            pose[joints.index(own)] = cells[0]
    _check_whole(times, joints, path)
    for ((whose, at, when), _), pose in poses.items():
        yield Frame([Person(pose, whose)], at, when)


def _check_whole(times: Counter[tuple], joints: Sequence[str], path: Path) -> None:
    """InputError where lines of a joint are missing, and no time or track tells of which frame."""
    counts: dict[tuple, set[int]] = defaultdict(set)  # how often joints come, by moment
    for (moment, joint), count in times.items():
        counts[moment] |= {count} if joint in joints else set()
    if any(len(own) > 1 for own in counts.values()):
        raise broken(path, "each joint as often as the others, where frames or people share a time",
                     "fewer lines of some",
                     "name the column of frames (`time`) or of people (`track`)")


def _of_one_width(rows: Sequence[list[str]], first: int, width: int,
                  path: Path) -> list[tuple[int, list[str]]]:
    """The table's lines by number. Empty ones at its ends do not count, nor cells at a line's end.
    """
    table = list(enumerate(rows[first:], first + 1))
    filled = [i for i, (_, row) in enumerate(table) if any(row)]
    table = table[filled[0]:filled[-1] + 1] if filled else []
    for line, row in table:
        while len(row) > width and not row[-1]:
            row.pop()  # after a separator at the end
        if len(row) != width:
            raise broken(path, f"{width} cells, as the header has", f"{len(row)} cells",
                         place=f"line {line}")
    return table


def _separator(lines: Sequence[str]) -> str:
    """What separates the cells of a line amid the table: a comma may be within numbers."""
    sample = lines[(len(lines) + 1) // 2] if len(lines) > 1 else lines[0]
    return next((sign for sign in "\t;, " if sign in sample), ",")


def _header(rows: Sequence[list[str]], source: OwnData, skeleton: Skeleton,
            wanted: Sequence[list[str]], path: Path) -> tuple[int, list[str]]:
    """Where the table begins, and the names of its columns: one line, or two where the joints stand
    over the axes; or those of the description.
    """
    if source.header:
        header = []
        for own in source.header:
            every = skeleton.joints if own == source.columns else ()
            header += [name for joint in every for name in source.joint_columns(joint)] or [own]
        if source.skip_lines is not None:
            return source.skip_lines, header
        numeric = [
            i for i, row in enumerate(rows)
            if 2 * sum(map(bool, map(NUMBER.fullmatch, row))) > sum(map(bool, row))
        ]
        whole = [i for i in numeric if len(rows[i]) >= len(header)]
        return next(iter(whole or numeric), len(rows)), header
    before = range(min(len(rows), LINES_BEFORE))
    nearest: tuple[int, int, str, list[str]] = (sum(map(len, wanted)) + 1, 0, "", [])
    for i in before if source.skip_lines is None else [source.skip_lines]:
        for names, lines in ((rows[i], 1), (_stacked(rows[i:i + 2]), 2)):
            spelled = set(map(letters, names))
            missing = [name for own in wanted for name in own if letters(name) not in spelled]
            if not missing:
                while not names[-1]:
                    names = names[:-1]
                return i + lines, names
            nearest = min(nearest, (len(missing), i, missing[0], names))
    count, i, missing, names = nearest
    found = f"{path}, line {i + 1}: column {expected_one(missing, names)}"
    none = count == sum(map(len, wanted))
    raise InputError(found + ("; where no line names the columns, give `header`" if none else ""))


def _stacked(rows: Sequence[list[str]]) -> list[str]:
    """The names of two lines: a joint stands over x, y, z (or X1, Y1, Z1), once or each time."""
    result, joint = [], ""
    for above, below in zip(rows[0], rows[-1], strict=False):
        joint = above or joint
        result.append(f"{joint}_{below.rstrip('0123456789')}" if below else above)
    return result


def _column(name: str, usual: Sequence[str], places: dict[str, int], path: Path) -> int | None:
    """Where a column is: the one that the description names, else one of the usual names."""
    if name and letters(name) not in places:
        raise InputError(f"{path}: column {expected_one(name, places)}")
    return next((places[own] for own in ((letters(name),) if name else usual) if own in places),
                None)


def _value(cell: str, decimal: str, path: Path, line: int, column: str) -> float:
    """The number in a cell, NaN for a lost one; a tracking state is 0, 1 or 2."""
    try:
        return float("nan") if cell.lower() in LOST else _float(cell, decimal)
    except ValueError:
        if (word := letters(cell)) in STATES:
            return STATES[word]
        raise broken(path, "numbers", cell, place=f"line {line}, column {column}") from None


def _float(cell: str, decimal: str) -> float:
    return float(cell.replace(",", ".") if decimal == "," else cell)


def _moment(row: Sequence[str], column: int | None, decimal: str) -> float | None:
    """A frame's number, or its time: a number, a date with a time, or a time; None if unknown."""
    if column is None:
        return None
    cell = row[column]
    with suppress(ValueError):
        return _float(cell, decimal)
    for date in (cell, f"2000-01-01 {cell}"):
        with suppress(ValueError):
            return datetime.fromisoformat(date).timestamp()
    return None


def read_ntu(path: Path, source: OwnData, skeleton: Skeleton) -> Iterator[Frame]:
    """NTU RGB+D: the number of frames; a frame: the number of bodies; a body: its id and 9 numbers,
    the number of joints, and a line a joint, x y z first, the tracking state last.
    """
    lines = enumerate(read_lines(path), 1)
    number = 0
    try:
        for _ in range(int(next(lines)[1])):
            people = []
            for _ in range(int(next(lines)[1])):
                track = next(lines)[1].split()[0]
                rows = []
                for _ in range(int(next(lines)[1])):
                    number, line = next(lines)
                    rows.append([float(word) for word in line.split()])
                people.append(Person(np.array(rows)[:, [0, 1, 2, -1]], track))
            yield Frame(people)
    except StopIteration:
        raise broken(path, "as many frames, bodies and joints as it says", "its end") from None
    except (ValueError, IndexError) as error:
        place = f"after line {number}"
        raise broken(path, "numbers of bodies and joints", error, place=place) from error
