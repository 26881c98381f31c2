"""The one table of data sets. Outside this table no line of the project asks for a data set by name."""

from dataclasses import dataclass

from reid.errors import InputError


@dataclass(frozen=True)
class Dataset:
    """What is fixed about a data set, whatever the method.

    joints: number of joints J.
    persons: number of persons in the real data set.
    splits: names of the test splits, as in the folders of `test_npy_data`.
    gallery_of: probe split -> gallery split.
    lengths: the published window lengths f, in frames.
    default_length: the length used when none is given.
    balanced: whether training windows are resampled to equal class shares (1-data.md, 6-fidelity.md line 3).
    """

    name: str
    joints: int
    persons: int
    splits: tuple[str, ...]
    gallery_of: dict[str, str]
    lengths: tuple[int, ...] = (4, 6, 8, 10, 12)
    default_length: int = 6
    balanced: bool = True


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset("BIWI", 20, 50, ("Walking", "Still"), {"Walking": "Still", "Still": "Walking"}),
        Dataset("IAS", 20, 11, ("A", "B"), {"A": "B", "B": "A"}),
        Dataset("KGBD", 20, 164, ("gallery", "probe"), {"probe": "gallery"}, balanced=False),
        Dataset("KS20", 25, 20, ("gallery", "probe"), {"probe": "gallery"}),
        Dataset(
            "CASIA_B",
            14,
            124,
            ("nm", "cl", "bg"),
            {"nm.nm": "nm", "cl.cl": "cl", "bg.bg": "bg", "cl.nm": "nm", "bg.nm": "nm"},
            lengths=(20, 30, 40, 50, 60),
            default_length=40,
        ),
    )
}


def get(name: str) -> Dataset:
    """The row of one data set. Raises InputError for a name that is not in the table."""
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}; choose one of {', '.join(DATASETS)}")
    return DATASETS[name]
