"""The raw data sets by name: where each lies, who reads it, how it is split, cut and windowed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from numpy.random import RandomState

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.datasets import Dataset
from skeleton_reid.data.raw.casia_b import arrange_protocols, read_casia_b
from skeleton_reid.data.raw.kgbd import read_kgbd
from skeleton_reid.data.raw.kinect_v1 import BIWI_SETS, IAS_SETS, read_kinect_v1
from skeleton_reid.data.raw.ks20 import TESTED_VIEWS, read_ks20
from skeleton_reid.data.raw.own import as_described, read_own
from skeleton_reid.data.raw.recordings import Recording
from skeleton_reid.data.raw.splits import (TRAIN, Arrangement, Split, by_group, by_view,
                                           draw_recordings, draw_settings)


@dataclass(frozen=True)
class RawDataset:
    """How one data set becomes windows."""

    read: Callable[[Path, str, int], list[Recording]]  # folder, joint order, number of processes
    split: Split | None  # None where a data set has several protocols
    overlap: str  # of training windows, as of `prepare.starts`; test windows have none
    folders: tuple[str, ...]  # where it may lie; the first that holds `marker` is read
    source: str  # where a user gets the data
    cut_train: tuple[int, int] = (0, 0)  # frames cut at the start and at the end of a recording
    cut_test: tuple[int, int] = (0, 0)
    marker: str = "*"
    views: tuple[int, ...] = ()  # of the recordings, each of which view_0, view_1, … tests
    layout: int = 0  # number in data.layouts.layouts of the one that is written; a view's is 1

    def cut(self, split: str) -> tuple[int, int]:
        """Frames cut at the start and at the end of a recording of this split."""
        return self.cut_train if split == TRAIN else self.cut_test


_PADUA = "http://robotics.dei.unipd.it/reid/index.php/downloads"
_VORTANDER = "https://github.com/Vortander/KinectGait (clone it into the raw folder)"
_LISBON = "http://vislab.isr.ist.utl.pt/datasets/#ks20 (on request)"
_CASIA = "http://www.cbsr.ia.ac.cn/english/Gait%20Databases.asp (poses by OpenPose and 3DHumanPose)"
# As in the papers; then the author's repository: cloned, as a zip, or its folder Data alone.
_KGBD_FOLDERS = (*("KGBD/kinect gait raw dataset", "KGBD/Data", "KGBD", "KinectGait/Data"),
                 *("KinectGait-master/Data", "KGBD/KinectGait/Data", "Data"))
_read_biwi = partial(read_kinect_v1, BIWI_SETS, True)
_read_ias = partial(read_kinect_v1, IAS_SETS, False)
# fmt: off
RAW = {
    "BIWI": RawDataset(_read_biwi, by_group, "shifts", ("BIWI",), _PADUA, (10, 10), (10, 10)),
    "IAS": RawDataset(_read_ias, by_group, "shifts", ("IAS",), _PADUA, (10, 0), (10, 10)),
    "KGBD": RawDataset(read_kgbd, draw_recordings, "none", _KGBD_FOLDERS, _VORTANDER,
                       (10, 10), (10, 10), marker="[Pp]erson*"),
    "KS20": RawDataset(read_ks20, draw_settings, "shifts", ("KS20",), _LISBON,
                       views=TESTED_VIEWS),
    "CASIA_B": RawDataset(read_casia_b, None, "half", ("CASIA_B",), _CASIA, layout=1)
}
# fmt: on


def raw_of(dataset: Dataset) -> RawDataset:
    """How a data set becomes windows, also a user's own."""
    if dataset.source is None:
        return RAW[dataset.name]
    return RawDataset(partial(read_own, dataset), as_described, "half", (), "")


def find(dataset: Dataset, raw: Path) -> Path:
    """The folder of a raw data set below `raw`, or of a user's own; InputError without any."""
    if dataset.source is not None:
        return dataset.source.root
    own, name = RAW[dataset.name], dataset.name
    folders = [raw / folder for folder in own.folders]
    if there := [folder for folder in folders if any(folder.glob(own.marker))]:
        return there[0]
    raise InputError(
        f"{name}: expected raw data, found none in {', '.join(map(str, folders))}; get it from "
        f"{own.source}, or simulate it: python -m data.simulate --dataset {name} --raw {raw}")


def arrange(dataset: Dataset, recordings: Sequence[Recording], seed: int) -> list[Arrangement]:
    """The data set's splits. The draw depends on recordings and seed, not on the window length.

    InputError where the recordings are too few for a split.
    """
    raw, split = raw_of(dataset), raw_of(dataset).split
    if split is None:
        return arrange_protocols(recordings)
    try:
        splits = split(recordings, RandomState(seed))
    except InputError as error:
        raise InputError(f"{dataset.name}: {error}") from error
    pairs = list(zip(recordings, splits, strict=True))
    own = Arrangement(pairs, (TRAIN, *dataset.splits), dataset.lengths)
    return [own, *by_view(recordings, dataset.lengths, dict(enumerate(raw.views)))]
