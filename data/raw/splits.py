"""Which recording goes where. Draws use the generator they are given, person by person."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from numpy.random import RandomState

from skeleton_reid.common.errors import InputError
from skeleton_reid.common.log import data_log
from skeleton_reid.data.raw.recordings import Recording

TRAIN = "train"
DRAWN = (TRAIN, "gallery", "probe")
Split = Callable[[Sequence[Recording], RandomState], list[str]]  # one split a recording


@dataclass(frozen=True)
class Arrangement:
    """One division of a data set's recordings into training set and test splits."""

    pairs: list[tuple[Recording, str]]  # every recording with its split, in reading order
    names: tuple[str, ...]  # the splits to write
    lengths: tuple[int, ...] = ()  # the published window lengths of this protocol
    view: int | None = None  # number of the tested view of a cross-view one


def by_view(recordings: Sequence[Recording], lengths: tuple[int, ...],
            views: Mapping[int, int]) -> list[Arrangement]:
    """Cross-view protocols: view_<n> tests the recordings of view views[n], all others train."""
    arrangements = []
    for number, view in views.items():
        pairs = [(own, "test" if own.view == view else TRAIN) for own in recordings]
        arrangements.append(Arrangement(pairs, (TRAIN, "test"), lengths, number))
    return arrangements


def by_group(recordings: Sequence[Recording], random: RandomState) -> list[str]:
    """The raw folders decide. Nothing is drawn."""
    return [recording.group for recording in recordings]


def draw_recordings(recordings: Sequence[Recording], random: RandomState) -> list[str]:
    """Of every person 2 recordings are drawn for the gallery, 1 for the probe, the rest train. A
    person with 3 gives one to each split, one with 2 has none to train with, a single one trains.
    """
    splits = [TRAIN] * len(recordings)
    recordings_of: dict[int, list[int]] = {}
    for i, recording in enumerate(recordings):
        recordings_of.setdefault(recording.person, []).append(i)
    for _, own in sorted(recordings_of.items()):
        drawn = random.permutation(own)
        tests = ["gallery"] * (2 if len(own) > 3 else 1) + ["probe"]
        for i, split in zip(drawn, tests if len(own) > 1 else (), strict=False):
            splits[i] = split
    _check_splits(recordings, splits, "at least 3 recordings of a person")
    return splits


def draw_settings(recordings: Sequence[Recording], random: RandomState) -> list[str]:
    """For every person one setting (the recordings' group) is gallery, another probe, the third
    trains; all views of a setting go together.

    A person's draw does not depend on who else is there: labels that nobody has take part, too.
    """
    settings = sorted({recording.group for recording in recordings})
    split_of = {}
    for person in range(max(recording.person for recording in recordings) + 1):
        drawn = random.permutation(len(settings))
        for i, split in zip(drawn, ("gallery", "probe", *[TRAIN] * len(drawn)), strict=False):
            split_of[person, settings[i]] = split
    splits = [split_of[recording.person, recording.group] for recording in recordings]
    _check_splits(recordings, splits, "the three settings of a person")
    return splits


def _check_splits(recordings: Sequence[Recording], splits: Sequence[str], needed: str) -> None:
    """Log how many persons a split lacks; InputError, which says what is `needed`, if all."""
    persons = {recording.person_name for recording in recordings}
    pairs = {(own.person_name, split) for own, split in zip(recordings, splits, strict=True)}
    empty = " and ".join(split for split in DRAWN if split not in splits)
    if empty:
        raise InputError(
            f"expected {needed}, one each for train, gallery and probe, found {len(recordings)} "
            f"recordings of {len(persons)} persons, which leave none for {empty}; add recordings")
    for split in DRAWN:
        if absent := {person for person in persons if (person, split) not in pairs}:
            words = "%d of %d persons have no recording in split %r (the first: %s)"
            data_log.warning(words, len(absent), len(persons), split, min(absent))
