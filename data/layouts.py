"""Where the files of a data set lie: the project's own layout and those of the published
downloads.
"""

from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from data.datasets import Dataset

AXES = "xyz"


@dataclass(frozen=True)
class Part:
    """One split on disk: `<folder>/<prefix>_{x,y,z}_<name>_<length>.npy` with its frame_id and ids
    files.
    """

    folder: Path
    prefix: str
    name: str
    length: int

    def axis(self, axis: str) -> Path:
        """The coordinate file of one axis, "x", "y" or "z"."""
        return self.folder / f"{self.prefix}_{axis}_{self.name}_{self.length}.npy"

    @property
    def frame_id(self) -> Path:
        """The file of person labels."""
        return self.folder / f"frame_id_{self.name}_{self.length}.npy"

    @property
    def ids(self) -> Path:
        """The pickled file of window numbers by label."""
        return self.folder / f"ids_{self.name}_{self.length}.npy"

    def exists(self) -> bool:
        """Whether any coordinate file is there; a missing axis is then an error of its own."""
        return any(self.axis(axis).is_file() for axis in AXES)


@dataclass(frozen=True)
class Layout:
    """One way to lay out a data set. one_test: the test files lie in the test folder itself, not by
    split.
    """

    train: Path
    test: Path
    one_test: bool


def layouts(dataset: Dataset, length: int, root: Path, view: int | None = None) -> list[Layout]:
    """Every layout in which a data set may lie, in the order in which they are looked for.

    With `view`, the cross-view layouts. InputError for a view that the data set does not have.
    """
    old_train, old_test = f"{dataset.name}_train_npy_data", f"{dataset.name}_test_npy_data"
    if view is not None:
        if not 0 <= view < dataset.views:
            has = f"views 0 to {dataset.views - 1}" if dataset.views else "no views"
            raise InputError(
                f"{dataset.name} has {has}, found view {view}; give another view or none"
            )
        base = root / dataset.name / str(length) / f"view_{view}"
        return [
            Layout(base / "train_npy_data", base / "test_npy_data", one_test=True),
            Layout(base / old_train, base / old_test, one_test=True),
        ]
    base = root / (dataset.folder or dataset.name) / str(length)
    return [
        Layout(base / "train_npy_data", base / "test_npy_data", one_test=False),
        Layout(base / old_train, base / old_test, one_test=False),
        Layout(base / old_train, base / old_test, one_test=True),
        Layout(root / old_train, root / old_test, one_test=True),
    ]


def part_of(layout: Layout, dataset: Dataset, split: str, length: int) -> Part | None:
    """The files of "train", of a test split, or of "test" (a view's); None if the layout cannot
    hold it.
    """
    if split == "train":
        return Part(layout.train, "source", dataset.name, length)
    if not layout.one_test:
        return Part(layout.test / split, "t_source", dataset.name, length)
    if split in ("test", dataset.single_test):
        return Part(layout.test, "t_source", dataset.name, length)
    if dataset.single_test is None:
        return Part(layout.test, "t_source", f"{dataset.name}-{split}", length)
    return None


def locate(
    dataset: Dataset,
    splits: list[str],
    length: int,
    root: Path,
    view: int | None = None,
    optional: tuple = (),
) -> dict[str, Part]:
    """The files of the wanted splits, all from the first layout that holds them.

    `optional` splits are left out where a layout has no place for them. InputError, with every
    place that was looked at, if there is no data, and with what is missing if a layout holds only
    some of the splits.
    """
    most = {}
    candidates = layouts(dataset, length, root, view)
    for layout in candidates:
        parts = {split: part_of(layout, dataset, split, length) for split in splits}
        found = {split: part for split, part in parts.items() if part is not None and part.exists()}
        missing = [
            split
            for split in splits
            if split not in found and (parts[split] or split not in optional)
        ]
        if not missing:
            return found
        if len(found) > len(most):
            most, lacking = found, missing
    preprocess = f"python preprocess.py {length} --dataset {dataset.name} --raw DIR --out {root}"
    if most:
        where = next(iter(most.values())).folder
        raise InputError(
            f"{dataset.name} at length {length}: expected the splits {', '.join(splits)}, found "
            f"{', '.join(most)} (in {where}) but not {', '.join(lacking)}; make them all with `{preprocess}`"
        )
    places = sorted({str(place) for layout in candidates for place in (layout.train, layout.test)})
    raise InputError(
        f"no {dataset.name} data of length {length}: looked in {', '.join(places)}; make it from the raw "
        f"data with `{preprocess}`, or from simulated raw data: first "
        f"`python -m data.simulate --dataset {dataset.name} --raw DIR`"
    )
