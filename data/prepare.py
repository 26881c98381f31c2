"""From recordings to the files that the loader reads."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from skeleton_reid.common.errors import InputError, in_words
from skeleton_reid.common.files import hold, staging_folder
from skeleton_reid.common.log import data_log
from skeleton_reid.data.datasets import Dataset
from skeleton_reid.data.files import (SPLIT_FILE, SUMS_FILE, Note, Sequences, broken, checksum,
                                      join, refuse_namesake)
from skeleton_reid.data.layouts import AXES, Part, layouts
from skeleton_reid.data.raw.formats import raw_of
from skeleton_reid.data.raw.splits import TRAIN, Arrangement


def starts(overlap: str, length: int) -> tuple[int, int]:
    """Frames from one window to the next, and how often all recordings are passed over, each time
    from a frame later on.

    overlap: "none", "half", or "shifts", where windows by half are cut in `length` passes, so that
    start frames repeat, as in the published sets.
    """
    half = max(length // 2, 1)
    return {"none": (length, 1), "half": (half, 1), "shifts": (half, length)}[overlap]


def cut_windows(recordings: Sequence[np.ndarray], labels: Sequence[int], length: int, stride: int,
                passes: int = 1) -> Sequences:
    """Windows (N, f, J, 3) in the type of the recordings, in the order: pass, recording, window.

    recordings: at least one array (n, J, 3). Those of the result are numbers in this list.
    """
    pieces = [(number, np.arange(shift,
                                 len(frames) - length + 1, stride)) for shift in range(passes)
              for number, frames in enumerate(recordings)]
    numbers = np.repeat([number for number, _ in pieces], [len(first) for _, first in pieces])
    windows = np.empty((len(numbers), length, *recordings[0].shape[1:]), recordings[0].dtype)
    end = 0
    for number, first in pieces:
        begin, end = end, end + len(first)
        windows[begin:end] = recordings[number][first[:, None] + np.arange(length)]
    return Sequences(windows, np.array(labels)[numbers], numbers)


def split_windows(dataset: Dataset, arrangement: Arrangement, length: int,
                  stride: int | None = None) -> Iterator[tuple[str, Sequences]]:
    """Every split's windows of `length` frames, in float64. InputError for a split without any.

    stride: frames from one window of a recording to the next; None: as published.
    """
    raw = raw_of(dataset)
    for split in arrangement.names:
        first, last = raw.cut(split)
        pieces = [(number, each.person, piece)
                  for number, (each, to) in enumerate(arrangement.pairs) if to == split
                  for piece in each.sequences(first, last)]
        if not any(len(piece) >= length for *_, piece in pieces):
            view = "" if arrangement.view is None else f" view {arrangement.view}"
            count = sum(to == split for _, to in arrangement.pairs)
            raise InputError(
                f"{dataset.name}{view}, f = {length}: expected recordings of at least "
                f"{first + length + last} frames in split {split!r}, found none among its {count}; "
                "choose a smaller length, add recordings, or say which are of this split by "
                "`split` (docs/09-own-data.md)")
        numbers, persons, frames = zip(*pieces, strict=True)
        begin = (stride, 1) if stride else starts(raw.overlap if split == TRAIN else "none", length)
        cut = cut_windows(frames, persons, length, *begin)
        yield split, replace(cut, recordings=np.array(numbers)[cut.recordings])


def draw_windows(windows: dict[str, Sequences], seed: int) -> Iterator[tuple[str, Sequences]]:
    """As many windows a split, drawn of all, by person (docs/05-fidelity.md, windows-at-random)."""
    every = join(list(windows.values()))
    drawn = np.random.RandomState(seed).permutation(len(every))
    ends = np.cumsum([len(own) for own in windows.values()])
    by_person = (own[np.lexsort((own, every.labels[own]))] for own in np.split(drawn, ends[:-1]))
    return zip(list(windows), map(every.take, by_person), strict=True)


def warn_short(dataset: Dataset, arrangement: Arrangement, length: int) -> None:
    """Log how many recordings are too short for one window."""
    pairs, cut = arrangement.pairs, raw_of(dataset).cut
    short = [
        own.name for own, split in pairs
        if max(map(len, own.sequences(*cut(split))), default=0) < length
    ]
    if short:
        words = "recordings are too short for a window and give none (first: %s)"
        data_log.warning(f"%s, f = %d: %d of %d {words}", dataset.name, length, len(short),
                         len(pairs), short[0])


def write(dataset: Dataset, arrangement: Arrangement, length: int, out: Path,
          settings: dict) -> tuple[Path, dict[str, int]]:
    """Write one data set at one length below `out`; its folder and the number of windows by split.

    settings: plain values that go into split.json as they are: seed, joint order, split ("windows":
    those of all recordings are drawn; a recording's split is then that before the draw), stride.
    InputError for a split without windows, a folder whose data this program did not write, and
    where writing fails; what was there before is replaced only once everything is written.
    """
    number = raw_of(dataset).layout if arrangement.view is None else 1
    layout = layouts(dataset, length, out, arrangement.view)[number]
    windows = split_windows(dataset, arrangement, length, settings.get("stride"))
    counts: dict[str, int] = {}
    note = _note(dataset, arrangement, layout.folder)
    note = {"dataset": dataset.name, "length": length, **settings, "windows": counts} | note
    try:
        with staged(layout.folder) as staging:
            with suppress(OSError, msgspec.MsgspecError):  # there is none, or a damaged one goes
                before = (layout.folder / SPLIT_FILE).read_bytes()
                refuse_namesake(dataset, layout.folder, msgspec.json.decode(before, type=Note))
            if settings["split"] == "windows":
                windows = draw_windows(dict(windows), settings["seed"])
            for split, own in windows:
                counts[split] = len(own)
                persons = [each.person for each, to in arrangement.pairs if to == split]
                _write_part(replace(layout, folder=staging).part(split), own, persons)
            (staging / SPLIT_FILE).write_text(json.dumps(note, indent=1))
    except OSError as error:
        raise InputError(f"cannot write {layout.folder}: {in_words(error)}; choose another --out "
                         "or make room") from error
    return layout.folder, counts


def _note(dataset: Dataset, arrangement: Arrangement, folder: Path) -> dict[str, Any]:
    """What split.json says of the description, the recordings and the persons."""
    rows = {
        each.name: {"person": each.person, "split": split, "frames": len(each.frames)} | each.lost
        for each, split in arrangement.pairs
    }
    note = {"description": dataset.description(), "recordings": rows}
    note["persons"] = {each.person: each.person_name for each, _ in arrangement.pairs}
    if dataset.source:
        file = Path(dataset.source.file).resolve()
        note["described_in"] = os.path.relpath(file, folder.resolve())
    return note


def _write_part(part: Part, windows: Sequences, persons: list[int]) -> None:
    """One split's files. As published, `ids` lists all persons, also those without a window."""
    part.folder.mkdir(parents=True)
    labels = windows.labels
    for axis, values in zip(AXES, np.moveaxis(windows.skeletons, -1, 0), strict=True):
        np.save(part.axis(axis), values.reshape(-1, values.shape[-1]))  # (N*f, J)
    np.save(part.frame_id, labels)
    np.save(part.recording_id, windows.recordings)
    ids: dict[int, list[int]] = {person: [] for person in persons}
    for number, label in enumerate(labels.tolist()):
        ids.setdefault(label, []).append(number)
    np.save(part.ids, np.array(ids, dtype=object))
    sums = {path.name: checksum(path) for path in sorted(part.folder.iterdir())}
    (part.folder / SUMS_FILE).write_text(json.dumps(sums))


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A temporary folder; when the block ends well, its entries replace their namesakes in
    `target`, which else stays as it was. InputError where that holds data without split.json, and
    while another process writes there.
    """
    if any(target.glob("*_npy_data")) and not (target / SPLIT_FILE).exists():
        expected, found = "no data or data written by preprocess.py", f"others (no {SPLIT_FILE})"
        raise broken(target, expected, found, "choose another --out or move them away")
    with staging_folder(target, ".preprocess-") as staging, ExitStack() as at_the_end:
        at_the_end.callback(hold(target / ".preprocess.lock").release)
        yield staging
        for entry in sorted(staging.iterdir(), key=lambda path: path.name == SPLIT_FILE):
            place = target / entry.name
            if place.exists():
                place.rename(staging / f"replaced-{entry.name}")
            entry.rename(place)
