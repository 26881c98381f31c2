"""The one table of data sets: outside it no line of the project asks for a data set by name."""

from dataclasses import dataclass

from common.errors import InputError


@dataclass(frozen=True)
class Dataset:
    """What is fixed about a data set, whatever the method."""

    name: str
    joints: int  # J
    persons: int  # in the real data set
    splits: tuple[str, ...]  # the test splits, as in the folders of test_npy_data
    gallery_of: dict[str, str]  # probe split -> gallery split
    lengths: tuple[int, ...] = (4, 6, 8, 10, 12)  # published window lengths f, in frames
    default_length: int = 6
    balanced: bool = True  # resample training windows to equal class shares
    folder: str = ""  # holds the splits, below the data root, where it is not the name
    views: int = 0  # number of cross-view folders view_0, view_1, … below <name>/<f>
    view_length: int = 20  # of a view's windows, by default
    single_test: str | None = None  # what older layouts' one test set is; None: they name splits
    recognition: tuple[str, ...] = ()  # the test splits of the recognition protocol
    recognition_train: tuple[str, ...] = ()  # test splits that are added to its training set
    recognition_tested_only: bool = False  # train only persons that the test splits hold

    def pair(self, probe: str) -> tuple[str, str]:
        """The probe and the gallery split named "A", "cl.nm", …; InputError for others."""
        if probe not in self.gallery_of:
            known = ", ".join(self.gallery_of)
            raise InputError(f"unknown probe {probe!r} for {self.name}; choose one of {known}")
        return probe.partition(".")[0], self.gallery_of[probe]


_GALLERY_AND_PROBE = {
    "splits": ("gallery", "probe"), "gallery_of": {"probe": "gallery"}, "single_test": "probe",
    "recognition": ("probe",), "recognition_train": ("gallery",)
}
_WALKING_AND_STILL = ("Walking", "Still")
# fmt: off
_TABLE = (
    Dataset("BIWI", 20, 50, _WALKING_AND_STILL, {"Walking": "Still", "Still": "Walking"},
            single_test="Walking", recognition=_WALKING_AND_STILL, recognition_tested_only=True),
    Dataset("IAS", 20, 11, ("A", "B"), {"A": "B", "B": "A"}, recognition=("A", "B")),
    Dataset("KGBD", 20, 164, balanced=False, **_GALLERY_AND_PROBE),
    Dataset("KS20", 25, 20, **_GALLERY_AND_PROBE),
    Dataset("CASIA_B", 14, 124, ("nm", "cl", "bg"),
            {"nm.nm": "nm", "cl.cl": "cl", "bg.bg": "bg", "cl.nm": "nm", "bg.nm": "nm"},
            lengths=(20, 30, 40, 50, 60), default_length=40, folder="CASIA_B_match", views=11)
)
# fmt: on
DATASETS = {dataset.name: dataset for dataset in _TABLE}


def get(name: str) -> Dataset:
    """The row of one data set. InputError for a name that is not in the table."""
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}; choose one of {', '.join(DATASETS)}")
    return DATASETS[name]
