"""Where the files of a data set lie: the project's layout and those of published downloads."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.datasets import DATASETS, Dataset

AXES = "xyz"


@dataclass(frozen=True)
class Part:
    """One split: `<folder>/<prefix>_{x,y,z}_<name>_<length>.npy`, frame_id and ids files."""

    folder: Path
    prefix: str
    name: str
    length: int

    def file(self, kind: str) -> Path:
        """`<folder>/<kind>_<name>_<length>.npy`."""
        return self.folder / f"{kind}_{self.name}_{self.length}.npy"

    def axis(self, axis: str) -> Path:
        """The coordinate file of one axis, "x", "y" or "z"."""
        return self.file(f"{self.prefix}_{axis}")

    frame_id = property(lambda self: self.file("frame_id"))  # person labels
    recording_id = property(lambda self: self.file("recording_id"))  # downloads lack it
    ids = property(lambda self: self.file("ids"))  # pickled: window numbers by label

    def exists(self) -> bool:
        """Whether any coordinate file is there; a missing axis is then an error of its own."""
        return any(self.axis(axis).is_file() for axis in AXES)


@dataclass(frozen=True)
class Layout:
    """One way to lay out a data set's windows of one length."""

    dataset: Dataset
    length: int
    folder: Path  # of `<prefix>train_npy_data` and `<prefix>test_npy_data`
    prefix: str = ""
    one_test: bool = False  # the test files lie in the test folder itself, not by split

    def part(self, split: str) -> Part | None:
        """The files of "train", a test split, or a view's "test"; None if there is no place."""
        name, single = self.dataset.name, self.dataset.single_test
        train, test = (self.folder / f"{self.prefix}{kind}_npy_data" for kind in ("train", "test"))
        if split == "train":
            return Part(train, "source", name, self.length)
        if not self.one_test:
            return Part(test / split, "t_source", name, self.length)
        if split in ("test", single):
            return Part(test, "t_source", name, self.length)
        return None if single else Part(test, "t_source", f"{name}-{split}", self.length)


def layouts(dataset: Dataset, length: int, root: Path, view: int | None = None) -> list[Layout]:
    """Every layout in which a data set, or a view of it, may lie; InputError if unknown."""
    layout, old = partial(Layout, dataset, length), f"{dataset.name}_"
    if view is None:
        base = root / (dataset.folder or dataset.name) / str(length)
        return [layout(base), layout(base, old), layout(base, old, True), layout(root, old, True)]
    if not 0 <= view < dataset.views:
        has = f"views 0 to {dataset.views - 1}" if dataset.views else "no views"
        raise InputError(f"{dataset.name} has {has}, found view {view}; give another or none")
    base = root / dataset.name / str(length) / f"view_{view}"
    return [layout(base, "", True), layout(base, old, True)]


def locate(dataset: Dataset, splits: list[str], length: int | None, root: str | Path,
           view: int | None = None, optional: tuple = ()) -> dict[str, Part]:
    """The files of the wanted splits, all from the first layout that holds them, without those
    `optional` ones that it has no place for. length: in frames, by default the data set's.

    InputError if no layout holds them all, with what the nearest one holds, or where was looked.
    """
    length = dataset.default_length if length is None else length
    if length < 1:
        raise InputError(f"expected a window length of at least 1 frame, found {length}")
    nearest, lacking, tried = {}, [], layouts(dataset, length, Path(root), view)
    for layout in tried:
        parts = {split: layout.part(split) for split in splits}
        there = {split: part for split, part in parts.items() if part and part.exists()}
        missing = [s for s in splits if s not in there and (parts[s] or s not in optional)]
        if not missing:
            return there
        if len(there) > len(nearest):
            nearest, lacking = there, missing
    name = dataset.name
    own = dataset.source.file if dataset.source else None if name in DATASETS else f"{name}.yaml"
    command = f"python preprocess.py {length} --dataset {own or f'{name} --raw DIR'} --out {root}"
    if nearest:
        raise InputError(
            f"{name} at length {length}: expected the splits {', '.join(splits)}, found "
            f"{', '.join(nearest)} (in {next(iter(nearest.values())).folder}) but not "
            f"{', '.join(lacking)}; make them all with `{command}`")
    places = dict.fromkeys(f"{layout.folder}/{layout.prefix}train_npy_data" for layout in tried)
    simulated = ("" if own else ", from real raw data or simulated ones by "
                 f"`python -m data.simulate --dataset {name} --raw DIR`")
    raise InputError(f"no {name} data of length {length}: looked in {', '.join(places)}; make them "
                     f"with `{command}`{simulated}")
