"""Which recording goes where. Draws use the generator they are given, in the order of the persons'
labels.
"""

import logging
from collections.abc import Sequence

from numpy.random import RandomState

from common.errors import InputError
from data.raw.recordings import Recording

log = logging.getLogger(__name__)


def by_group(recordings: Sequence[Recording], random: RandomState) -> list[str]:
    """One split a recording: the raw folders decide. Nothing is drawn."""
    return [recording.group for recording in recordings]


def draw_recordings(recordings: Sequence[Recording], random: RandomState) -> list[str]:
    """One split a recording: of every person 2 drawn for the gallery, 1 for the probe, the rest
    train.

    A person with 3 recordings gives one to each split, one with 2 has none to train with, and a
    single recording trains. Raises InputError where that leaves a split empty.
    """
    splits = ["train"] * len(recordings)
    for person in sorted({recording.person for recording in recordings}):
        own = [i for i, recording in enumerate(recordings) if recording.person == person]
        drawn = [own[i] for i in random.permutation(len(own))]
        galleries = 2 if len(own) > 3 else 1
        if len(own) > 1:
            for i in drawn[:galleries]:
                splits[i] = "gallery"
            splits[drawn[galleries]] = "probe"
    _check_splits(recordings, splits, "at least 3 recordings of a person")
    return splits


def draw_settings(recordings: Sequence[Recording], random: RandomState) -> list[str]:
    """One split a recording: for every person one setting is gallery, another probe, the third
    trains.

    The settings are the recordings' groups; all views of a setting go together. Labels that nobody
    has take part in the draw, so that a person's part in it does not depend on who else is there.
    Raises InputError where a split is left empty.
    """
    settings = sorted({recording.group for recording in recordings})
    split_of = {}
    for person in range(max(recording.person for recording in recordings) + 1):
        drawn = [settings[i] for i in random.permutation(len(settings))]
        split_of |= {(person, setting): "train" for setting in drawn}
        split_of |= {
            (person, setting): split
            for setting, split in zip(drawn, ("gallery", "probe"), strict=False)
        }
    splits = [split_of[recording.person, recording.group] for recording in recordings]
    _check_splits(recordings, splits, "the three settings of a person")
    return splits


def _check_splits(recordings: Sequence[Recording], splits: Sequence[str], needed: str) -> None:
    """Log how many persons a split lacks; InputError, which says what is `needed`, if it lacks all
    of them.
    """
    persons = {recording.person for recording in recordings}
    empty = [split for split in ("train", "gallery", "probe") if split not in splits]
    if empty:
        raise InputError(
            f"expected {needed}, one each for train, gallery and probe, found {len(recordings)} recordings of "
            f"{len(persons)} persons, which leave none for {' and '.join(empty)}; add recordings"
        )
    for split in ("train", "gallery", "probe"):
        pairs = zip(recordings, splits, strict=True)
        absent = persons - {
            recording.person for recording, its_split in pairs if its_split == split
        }
        if absent:
            log.warning(
                "%d of %d persons have no recording in split %r (the first: %d)",
                *(len(absent), len(persons), split, min(absent)),
            )
