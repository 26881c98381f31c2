"""One division of a data set's recordings into training set and test splits."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from numpy.random import RandomState

from data.raw.recordings import Recording

TRAIN = "train"
Split = Callable[[Sequence[Recording], RandomState], list[str]]


@dataclass(frozen=True)
class Arrangement:
    """Which recording goes where.

    splits: one split name a recording. names: the splits to write. view: the tested view of a
    cross-view one. lengths: the published window lengths of this protocol.
    """

    splits: list[str]
    names: tuple[str, ...]
    lengths: tuple[int, ...]
    view: int | None = None

    def of(self, split: str, recordings: Sequence[Recording]) -> list[Recording]:
        """The recordings of one split, in reading order."""
        pairs = zip(recordings, self.splits, strict=True)
        return [recording for recording, its_split in pairs if its_split == split]
