"""Where the files of a data set lie: the project's layout and those of published downloads."""

from dataclasses import dataclass
from pathlib import Path

from common.errors import InputError
from data.datasets import Dataset

AXES = "xyz"


@dataclass(frozen=True)
class Part:
    """One split: `<folder>/<prefix>_{x,y,z}_<name>_<length>.npy`, frame_id and ids files."""

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
    """One way to lay out a data set: the folder of training files and that of the test splits.

    one_test: the test files lie in the test folder itself, not by split.
    """

    train: Path
    test: Path
    one_test: bool


def layouts(dataset: Dataset, length: int, root: Path, view: int | None = None) -> list[Layout]:
    """Every layout in which a data set may lie, in the order in which they are looked for; with
    `view`, the cross-view ones. InputError for a view that the data set does not have.
    """
    base = root / (dataset.folder or dataset.name) / str(length)
    if view is not None:
        if not 0 <= view < dataset.views:
            has = f"views 0 to {dataset.views - 1}" if dataset.views else "no views"
            raise InputError(f"{dataset.name} has {has}, found view {view}; give another or none")
        base = root / dataset.name / str(length) / f"view_{view}"

    def layout(folder: Path, prefix: str, one_test: bool) -> Layout:
        names = (f"{prefix}{split}_npy_data" for split in ("train", "test"))
        return Layout(*(folder / name for name in names), one_test)

    old = f"{dataset.name}_"
    if view is not None:
        return [layout(base, "", one_test=True), layout(base, old, one_test=True)]
    return [
        layout(base, "", one_test=False),
        layout(base, old, one_test=False),
        layout(base, old, one_test=True),
        layout(root, old, one_test=True),
    ]


def part_of(layout: Layout, dataset: Dataset, split: str, length: int) -> Part | None:
    """The files of "train", a test split, or a view's "test"; None if the layout has none."""
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
    """The files of the wanted splits, all from the first layout that holds them, without those
    `optional` ones that it has no place for. InputError if there is no data, with every place that
    was looked at, or if a layout holds only some of the splits, with what is missing.
    """
    nearest, lacking, places = {}, [], set()
    for layout in layouts(dataset, length, root, view):
        parts = {split: part_of(layout, dataset, split, length) for split in splits}
        there = {split: part for split, part in parts.items() if part and part.exists()}
        needed = [split for split in splits if parts[split] or split not in optional]
        missing = [split for split in needed if split not in there]
        if not missing:
            return there
        if len(there) > len(nearest):
            nearest, lacking = there, missing
        places |= {str(layout.train), str(layout.test)}
    command = f"python preprocess.py {length} --dataset {dataset.name} --raw DIR --out {root}"
    if nearest:
        where = next(iter(nearest.values())).folder
        raise InputError(
            f"{dataset.name} at length {length}: expected the splits {', '.join(splits)}, found "
            f"{', '.join(nearest)} (in {where}) but not {', '.join(lacking)}; "
            f"make them all with `{command}`"
        )
    raise InputError(
        f"no {dataset.name} data of length {length}: looked in {', '.join(sorted(places))}; make "
        f"it from the raw data with `{command}`, or from simulated raw data: first "
        f"`python -m data.simulate --dataset {dataset.name} --raw DIR`"
    )
