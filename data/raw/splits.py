"""Which recording goes where. Draws use the generator they are given, person by person."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from numpy.random import RandomState

from common.errors import InputError
from data.raw.recordings import Recording

TRAIN = "train"
DRAWN = (TRAIN, "gallery", "probe")
Split = Callable[[Sequence[Recording], RandomState], list[str]]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Arrangement:
    """One division of a data set's recordings into training set and test splits.

    splits: one split name a recording. names: the splits to write. lengths: the published window
    lengths of this protocol. view: the tested view of a cross-view one.
    """

    splits: list[str]
    names: tuple[str, ...]
    lengths: tuple[int, ...]
    view: int | None = None

    def of(self, split: str, recordings: Sequence[Recording]) -> list[Recording]:
        """The recordings of one split, in reading order."""
        pairs = zip(recordings, self.splits, strict=True)
        return [recording for recording, name in pairs if name == split]


def by_group(recordings: Sequence[Recording], random: RandomState) -> list[str]:
    """One split a recording: the raw folders decide. Nothing is drawn."""
    return [recording.group for recording in recordings]


def draw_recordings(recordings: Sequence[Recording], random: RandomState) -> list[str]:
    """One split a recording: of every person 2 drawn for the gallery, 1 for the probe, the rest
    train. A person with 3 recordings gives one to each split, one with 2 has none to train with,
    and a single recording trains. InputError where that leaves a split empty.
    """
    splits = [TRAIN] * len(recordings)
    for person in sorted({recording.person for recording in recordings}):
        own = [i for i, recording in enumerate(recordings) if recording.person == person]
        drawn = random.permutation(own)
        if len(own) > 1:
            galleries = 2 if len(own) > 3 else 1
            for i in drawn[:galleries]:
                splits[i] = "gallery"
            splits[drawn[galleries]] = "probe"
    _check_splits(recordings, splits, "at least 3 recordings of a person")
    return splits


def draw_settings(recordings: Sequence[Recording], random: RandomState) -> list[str]:
    """One split a recording: for every person one setting is gallery, another probe, the third
    trains. The settings are the recordings' groups; all views of a setting go together.

    Labels that nobody has take part in the draw, so that a person's part in it does not depend on
    who else is there. InputError where a split is left empty.
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
    persons = {recording.person for recording in recordings}
    empty = " and ".join(split for split in DRAWN if split not in splits)
    if empty:
        raise InputError(
            f"expected {needed}, one each for train, gallery and probe, found {len(recordings)} "
            f"recordings of {len(persons)} persons, which leave none for {empty}; add recordings"
        )
    for split in DRAWN:
        pairs = zip(recordings, splits, strict=True)
        absent = persons - {recording.person for recording, name in pairs if name == split}
        if absent:
            log.warning(
                "%d of %d persons have no recording in split %r (the first: %d)",
                *(len(absent), len(persons), split, min(absent)),
            )
