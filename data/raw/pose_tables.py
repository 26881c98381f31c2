"""Readers of text: CSV and TRC, by their columns, and NTU RGB+D's `.skeleton` files."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.yaml_files import expected_one
from skeleton_reid.data.datasets import METRES, NO_TIME, OwnData
from skeleton_reid.data.files import broken
from skeleton_reid.data.raw.moments import NUMBER, RECORDERS, moments
from skeleton_reid.data.raw.people import Frame, Person
from skeleton_reid.data.raw.recordings import read_lines
from skeleton_reid.data.skeleton import Skeleton, letters

# Cells that hold no number, as `letters` spells them.
LOST = ("", "na", "null", "none", "nan", "nanind", "1ind", "1qnan")
WORDS = dict.fromkeys(LOST, np.nan) | {"nottracked": 0.0, "inferred": 1.0, "tracked": 2.0}
UNIT = re.compile("(milli|m|centi|c)?(m|met(?:er|re)s?)|inch|inches|in|ft", re.IGNORECASE)
OTHERS = "*"  # at the end of a `header`: any further columns
LINES_BEFORE = 50  # among which a header is looked for
MOST_NAMED = 5  # columns that a joint's may be
BELOW = 5  # lines from that of the joints to that of the axes, at most


def read_csv(path: Path, source: OwnData, skeleton: Skeleton) -> Iterator[Frame]:
    """The frames of a table, a line a frame or, if `columns` has no {joint}, a line a joint.
    Ignored joints need no columns.

    Names of columns may differ in case and in signs between the words. InputError for missing
    columns, other numbers of cells than the header's, and cells that are no numbers.
    """
    lines = read_lines(path)
    sample = lines[min((len(lines) + 1) // 2, len(lines) - 1)]  # amid the table
    sign = next((sign for sign in "\t;, " if sign in sample), ",")  # commas may be within numbers
    rows = [[cell.strip() for cell in row]
            for row in csv.reader(lines, delimiter=sign, skipinitialspace=True)]
    if (source.skip_lines or 0) >= len(rows):
        raise broken(path, f"more than the {source.skip_lines} lines of `skip_lines`", len(rows))
    first, header, columns = _header(rows, source, skeleton, path)
    table = _of_one_width(rows, first, len(header), path)
    if not table:
        raise broken(path, "lines of numbers below the header", "none")
    points = _numbers(table, columns, header, source, path)
    if len(columns[0]) - bool(source.confidence) == 2:
        points = np.insert(points, 2, 0.0, axis=2)
    points[..., :3] *= _scale(rows[:table[0][0] - 1], source, path)
    values = {letters(name): [row[i] for _, row in table] for i, name in enumerate(header)}
    for name in (source.track, source.time, source.joint):
        if name not in ("", NO_TIME) and letters(name) not in values:
            raise InputError(f"{path}: column {expected_one(name, header)}")
    places = [f"{path}, line {line}, column" for line, _ in table]
    numbers, times, unread = moments(values, source.time, places)
    tracks = _column(values, source.track, RECORDERS["tracks"]) or [""] * len(table)
    moment = list(zip(tracks, numbers, times, strict=True))
    if "{joint}" in source.columns:
        poses = np.full((len(table), len(skeleton), points.shape[2]), np.nan)
        poses[:, [joint not in source.ignore for joint in skeleton.joints]] = points
        whole = zip(moment, poses, strict=True)
    else:
        whole = _joined(points, moment, _joints(values, source, skeleton, path), skeleton, path)
    for (track, number, time), pose in whole:
        yield Frame([Person(pose, track)], number, time, unread)


def _joints(values: dict[str, list[str]], source: OwnData, skeleton: Skeleton,
            path: Path) -> list[int]:
    """Of which joint of the skeleton each line is: by its name or number, without a column of these
    by its place; -1 for a joint of another name.
    """
    words = {letters(source.joint_names.get(own, own)): i for i, own in enumerate(skeleton.joints)}
    named = (own for own in values.values() if len({*map(letters, own)} & words.keys()) > 1)
    if names := _column(values, source.joint, RECORDERS["joints"]) or next(named, None):
        numbers = {int(name) for name in names if name.isdecimal() and name not in words}
        first = int(min(numbers, default=0) == 1 and max(numbers) == len(skeleton))
        _refuse_more(max(numbers, default=0) + 1 - first, skeleton, path)
        places = {str(i + first): i for i in range(len(skeleton))} | words
        for own in (names, [name.rpartition(".")[2] for name in names]):  # PoseLandmark.NOSE
            joints = [places.get(name, places.get(letters(name), -1)) for name in own]
            if max(joints) >= 0:
                return joints
        raise broken(path, f"joints of {skeleton.name}", ", ".join(sorted({*names})[:MOST_NAMED]),
                     "`joint_names` says what joints are called in your files")
    count, J = len(next(iter(values.values()))), len(skeleton)
    if count % J:
        raise broken(path, f"{J} lines a frame, in the order of the skeleton", f"{count} lines",
                     "name the column that names the joint (`joint`)")
    return list(range(J)) * (count // J)


def _refuse_more(count: int, skeleton: Skeleton, path: Path) -> None:
    """InputError for more numbered joints than the skeleton has: which ones it has is unknown."""
    if count > len(skeleton):
        raise broken(path, f"{len(skeleton)} numbered joints ({skeleton.name})", count,
                     "name their `skeleton`, and joints to `ignore`, or give `joint_names`")


def _joined(points: np.ndarray, moments: list[tuple], joints: list[int], skeleton: Skeleton,
            path: Path) -> Iterator[tuple[tuple, np.ndarray]]:
    """The moments and poses of lines (lines, 1, 3 or 4) of a joint each: a joint that comes again
    is another person's. InputError where it is unclear whose it is.
    """
    seen: Counter[tuple] = Counter()
    poses: dict[tuple, np.ndarray] = {}
    for moment, joint, (point,) in zip(moments, joints, points, strict=True):
        if joint >= 0:
            seen[moment, joint] += 1
            empty = np.full((len(skeleton), len(point)), np.nan)
            poses.setdefault((moment, seen[moment, joint]), empty)[joint] = point
    counts = {(moment, count) for (moment, _), count in seen.items()}
    if len(counts) > len({moment for moment, _ in counts}):
        raise broken(path, "each joint as often as the others, where frames or people share a time",
                     "fewer lines of some",
                     "name the column of frames (`time`) or of people (`track`)")
    return ((moment, pose) for (moment, _), pose in poses.items())


def _numbers(table: Sequence[tuple[int, list[str]]], columns: Sequence[list[int]],
             header: Sequence[str], source: OwnData, path: Path) -> np.ndarray:
    """The numbers (lines, joints, 3 or 4) of the joints' columns, NaN for lost ones; a tracking
    state is 0, 1 or 2. InputError, with line and column, for other words.
    """
    cells = [(line, i, row[i]) for line, row in table for own in columns for i in own]
    text = "".join(cell for *_, cell in cells)
    has_comma = source.decimal == "," or (not source.decimal and "," in text and "." not in text)
    values = []
    for line, i, cell in cells:
        try:
            values.append(float(cell.replace(",", ".") if has_comma else cell))
        except ValueError:
            values.append(WORDS.get(letters(cell)))
            if values[-1] is None:
                place = f"line {line}, column {header[i]}"
                raise broken(path, "numbers", cell, place=place) from None
    return np.array(values).reshape(len(table), len(columns), -1)


def _scale(before: Sequence[list[str]], source: OwnData, path: Path) -> float:
    """What makes metres of the numbers where the description leaves it to the file, else 1.
    before: the lines before the table. InputError where both name a unit, and another one.
    """
    words = {UNIT.fullmatch(cell) for row in before for cell in row} - {None}
    units = {f"{(word[1] or '')[:1]}m".lower() if word[2] else word[0].lower() for word in words}
    stated = " and ".join(sorted(units))
    then = f"correct `unit` in {source.file}, or give it in metres, such as 0.0254 for an inch"
    if isinstance(source.unit, str) and units and source.unit not in units:
        raise broken(path, f"{source.unit}, the `unit` of its description",
                     f"{stated} in its header", then)
    if source.unit is None and stated not in METRES:
        raise broken(path, "m, cm or mm in its header", stated or "none", then)
    return METRES[stated] if source.unit is None else 1.0


def _of_one_width(rows: Sequence[list[str]], first: int, width: int,
                  path: Path) -> list[tuple[int, list[str]]]:
    """The table's lines by number, from the first one with a number to the last with any cell.
    InputError for more or fewer cells than the header's; empty ones at a line's end do not count.
    """
    table = [(i, row) for i, row in enumerate(rows[first:], first + 1) if row not in ([], [""])]
    filled = [i for i, (_, row) in enumerate(table) if any(row)]
    begin = next((i for i in filled if any(map(NUMBER.fullmatch, table[i][1]))), 0)
    table = table[begin:filled[-1] + 1] if filled else []
    for line, row in table:
        while len(row) > width and not row[-1]:
            row.pop()  # after a separator at the end
        if len(row) != width:
            raise broken(path, f"{width} cells, as the header has", f"{len(row)} cells",
                         "repair or remove the line, or name every column in `header`",
                         f"line {line}")
    return table


def _header(rows: Sequence[list[str]], source: OwnData, skeleton: Skeleton,
            path: Path) -> tuple[int, list[str], list[list[int]]]:
    """Where the table begins, the names of its columns, and which are those of each joint: by their
    names, which stand in one line or over those of the axes, or by their numbers from 0 or from 1.
    InputError for columns that are not there, or twice.
    """
    kept = [i for i, joint in enumerate(skeleton.joints) if joint not in source.ignore]
    kept = kept if "{joint}" in source.columns else kept[:1]
    spellings = [[skeleton.joints[i] for i in kept],
                 list(map(str, kept)), [str(i + 1) for i in kept]]
    wanted = [[source.joint_columns(joint, axes) for joint in joints] for axes in ("xyz", "xy")
              for joints in spellings]
    missed = []
    for i, header in _headers(rows, source, skeleton):
        spelled = Counter(map(letters, header))
        for joints in wanted:
            missing = [name for own in joints for name in own if letters(name) not in spelled]
            if not missing:
                places = {letters(name): place for place, name in enumerate(header)}
                if joints not in (wanted[0], wanted[len(spellings)]):
                    numbers = [source.joint_columns(str(n), "xy") for n in range(len(header))]
                    count = sum(all(letters(name) in places for name in own) for own in numbers)
                    _refuse_more(count, skeleton, path)
                if twice := [name for own in joints for name in own if spelled[letters(name)] > 1]:
                    raise broken(path, f"one column {twice[0]}", "several",
                                 "name them apart (`header`)")
                return i, header, [[places[letters(name)] for name in own] for own in joints]
            if joints is wanted[0]:
                missed.append((len(missing), i, missing, header))
    _, i, missing, names = min(missed)
    used = {letters(name) for own in wanted[0] for name in own}
    others = [name for name in dict.fromkeys(names) if name and letters(name) not in used]
    found = ", ".join(get_close_matches(missing[0], others, MOST_NAMED, 0.0)) or "no others"
    raise InputError(f"{path}, line {i}: expected the columns {', '.join(missing)}, found {found}; "
                     "`joint_names` says what joints are called in your files, `header` what the "
                     "columns are where no line names them")


def _headers(rows: Sequence[list[str]], source: OwnData,
             skeleton: Skeleton) -> Iterator[tuple[int, list[str]]]:
    """The lines that may be a header: the line after it, and the names of the columns."""
    if source.header:
        header = []
        for own in source.header:
            every = skeleton.joints if own == source.columns else ()
            header += [name for joint in every for name in source.joint_columns(joint)] or [own]
        counts = [(len(list(filter(NUMBER.fullmatch, row))), sum(map(bool, row))) for row in rows]
        numeric = [i for i, (numbers, filled) in enumerate(counts) if 2 * numbers > filled]
        whole = [i for i in numeric if len(rows[i]) >= len(header)]
        first = next(iter(whole or numeric), 0)
        if header[-1] == OTHERS:
            header[-1:] = [""] * (len(rows[first]) - len(header) + 1)
        yield first if source.skip_lines is None else source.skip_lines, header
        return
    lines = range(min(len(rows), LINES_BEFORE))
    lines = lines if source.skip_lines is None else [source.skip_lines]
    for i in lines:
        filled = [place for place, name in enumerate(rows[i], 1) if name]
        yield i + 1, rows[i][:max(filled, default=0)]
    for i in lines:  # of the joints, above that of the axes
        for below in range(i + 1, min(i + 1 + BELOW, len(rows))):
            yield below + 1, _stacked(rows[i:below + 1])
        if rows[i] and letters(rows[i][0]) == "markernames":  # Qualisys, which names no axes
            yield i + 1, [f"{joint}_{axis}" for joint in rows[i][1:] for axis in "xyz"]


def _stacked(rows: Sequence[list[str]]) -> list[str]:
    """The names of lines of which the first has joints, once or each time, and the last x, y, z (or
    X1, Y1, Z1) below them. Columns of rotations, as lines between say, have no name.
    """
    result, joint, width = [], "", len(rows[-1])
    for cells in zip(*([*row, *[""] * width][:width] for row in rows), strict=True):
        joint = cells[0] or joint
        is_turn = "rotation" in map(letters, cells[1:-1])
        below = cells[-1].rstrip("0123456789")
        result.append("" if is_turn else f"{joint}_{below}" if below else cells[0])
    return result


def _column(values: dict[str, list[str]], name: str, usual: Sequence[str]) -> list[str] | None:
    """The cells of a column: of the one that the description names, else of one of usual names."""
    names = (letters(name),) if name else usual
    return next((values[own] for own in names if own in values), None)


def read_ntu(path: Path, source: OwnData, skeleton: Skeleton) -> list[Frame]:
    """NTU RGB+D: the number of frames; a frame: the number of bodies; a body: its id and 9 numbers,
    the number of joints, and a line a joint, x y z first, the tracking state last.
    """
    lines, frames = iter(read_lines(path)), []
    try:
        for _ in range(int(next(lines))):
            people = []
            for _ in range(int(next(lines))):
                track = next(lines).split()[0]
                rows = [list(map(float, next(lines).split())) for _ in range(int(next(lines)))]
                people.append(Person(np.array(rows)[:, [0, 1, 2, -1]], track))
            frames.append(Frame(people))
    except StopIteration:
        raise broken(path, "as many frames, bodies and joints as it says", "its end") from None
    except (ValueError, IndexError) as error:
        place = f"frame {len(frames) + 1}"
        raise broken(path, "numbers of bodies and joints", error, place=place) from error
    return frames
