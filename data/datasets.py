"""The one table of data sets. Outside this table no line of the project asks for a data set by
name.
"""

from dataclasses import dataclass

from common.errors import InputError


@dataclass(frozen=True)
class Dataset:
    """What is fixed about a data set, whatever the method.

    joints: number of joints J. persons: number of persons in the real data set.
    splits: names of the test splits, as in the folders of `test_npy_data`.
    gallery_of: probe split -> gallery split.
    lengths: the published window lengths f, in frames. default_length: where none is given.
    balanced: whether training windows are resampled to equal class shares before they are permuted.
    folder: the folder below the data root that holds the splits, where it is not the name.
    views: number of cross-view folders view_0, view_1, … below `<name>/<f>`.
    view_length: the length of a view's windows where none is given.
    single_test: the split that older layouts with one test set hold; None: they name the split.
    recognition: the test splits of the recognition protocol.
    recognition_train: test splits that are added to its training set.
    recognition_tested_only: whether it trains only persons that the test splits hold.
    """

    name: str
    joints: int
    persons: int
    splits: tuple[str, ...]
    gallery_of: dict[str, str]
    lengths: tuple[int, ...] = (4, 6, 8, 10, 12)
    default_length: int = 6
    balanced: bool = True
    folder: str = ""
    views: int = 0
    view_length: int = 20
    single_test: str | None = None
    recognition: tuple[str, ...] = ()
    recognition_train: tuple[str, ...] = ()
    recognition_tested_only: bool = False

    def pair(self, probe: str) -> tuple[str, str]:
        """The probe and the gallery split of a probe's name ("A", "cl.nm"). InputError if
        unknown.
        """
        if probe not in self.gallery_of:
            known = ", ".join(self.gallery_of)
            raise InputError(f"unknown probe {probe!r} for {self.name}; choose one of {known}")
        return probe.partition(".")[0], self.gallery_of[probe]


_GALLERY_AND_PROBE = {
    "splits": ("gallery", "probe"),
    "gallery_of": {"probe": "gallery"},
    "single_test": "probe",
    "recognition": ("probe",),
    "recognition_train": ("gallery",),
}
_TABLE = (
    Dataset(
        *("BIWI", 20, 50, ("Walking", "Still"), {"Walking": "Still", "Still": "Walking"}),
        single_test="Walking",
        recognition=("Walking", "Still"),
        recognition_tested_only=True,
    ),
    Dataset("IAS", 20, 11, ("A", "B"), {"A": "B", "B": "A"}, recognition=("A", "B")),
    Dataset("KGBD", 20, 164, balanced=False, **_GALLERY_AND_PROBE),
    Dataset("KS20", 25, 20, **_GALLERY_AND_PROBE),
    Dataset(
        *("CASIA_B", 14, 124, ("nm", "cl", "bg")),
        {"nm.nm": "nm", "cl.cl": "cl", "bg.bg": "bg", "cl.nm": "nm", "bg.nm": "nm"},
        lengths=(20, 30, 40, 50, 60),
        default_length=40,
        folder="CASIA_B_match",
        views=11,
    ),
)
DATASETS = {dataset.name: dataset for dataset in _TABLE}


def get(name: str) -> Dataset:
    """The row of one data set. InputError for a name that is not in the table."""
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}; choose one of {', '.join(DATASETS)}")
    return DATASETS[name]
