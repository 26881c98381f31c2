"""Load a data set for training and for its two protocols, retrieval and recognition."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from skeleton_reid.common.errors import InputError
from skeleton_reid.data import datasets
from skeleton_reid.data.files import Sequences, join, provenance, read_split
from skeleton_reid.data.layouts import Part, locate
from skeleton_reid.data.sampling import training_order
from skeleton_reid.data.skeleton import Skeleton

LOST = "probes' persons that the gallery lacks are misses in top-k and are left out of mAP"


class DataWarning(UserWarning):
    """The data can be used, but something in it is not as a reader of the results would expect."""


@dataclass(frozen=True)
class Retrieval:
    """A data set for retrieval. The probes' persons are looked for in the gallery."""

    train: Sequences | None  # None if it was not asked for
    probe: Sequences
    gallery: Sequences
    name: str
    length: int
    skeleton: Skeleton
    same_set: bool  # probe and gallery are one set, in which a sequence must not match itself
    order: np.ndarray | None  # stored window number of each training row
    paths: dict[str, Path]  # the folder of each split
    names: dict[int, str]  # persons by label, where they are known
    stored: "Retrieval | None" = None  # the same as it was read, where this is an order or a part


@dataclass(frozen=True)
class Recognition:
    """A data set for recognition. Labels are class numbers: positions in `persons`."""

    train: Sequences
    tests: dict[str, Sequences]  # by name of the split
    persons: np.ndarray  # the stored labels, sorted
    name: str
    length: int
    skeleton: Skeleton
    order: np.ndarray  # number of each training row among the windows of all that is trained
    paths: dict[str, Path]  # the folder of each split
    names: dict[int, str]  # by label, where they are known


def load(dataset: str, probe: str, length: int | None = None, root: str | Path = "Datasets", *,
         balance: bool = True, centred: bool = True, train: bool = True, **sampling) -> Retrieval:
    """The training set, the probes and the gallery of a data set.

    dataset, probe: names in the table of data sets (`probe` as "probe", "A", "Walking", "cl.nm").
    length: frames f of a window, by default the data set's. root: the folder of all data sets.
    balance: whether to resample to equal class shares, where the table says that the data set is.
    centred: the skeleton's root is the origin of every frame. train: whether to read the
    training set. sampling: batch_size, rng, shuffle, seed of `sampling.training_order`. A released
    run is replayed by two loads in a row on one `rng`, of which the first one's train is not used.

    InputError if data is missing or damaged; DataWarning of probes without a person in the gallery.
    """
    row = datasets.get(dataset)
    probe_split, gallery_split = row.pair(probe)
    splits = ["train"] * train + list(dict.fromkeys([probe_split, gallery_split]))
    sets, common = _read(row, locate(row, splits, length, root), centred, root)
    probes, gallery = sets[probe_split], sets[gallery_split]
    warn_of_lost(probes.labels, gallery.labels, f"{row.name} {probe}: {LOST}")
    order = training = None
    if train:
        order = training_order(sets["train"].labels, balance=balance and row.balanced, **sampling)
        training = sets["train"].take(order)
    same_set = probe_split == gallery_split
    return Retrieval(training, probes, gallery, same_set=same_set, order=order, **common)


def load_recognition(dataset: str, split: str | None = None, length: int | None = None,
                     root: str | Path = "Datasets", *, view: int | None = None,
                     balance: bool = True, centred: bool = True, **sampling) -> Recognition:
    """The training set and the test sets of the recognition protocol.

    split: one test split, by default every one of the protocol that the layout holds. view: of data
    sets that have views, whose test set is named "test". The other arguments are those of `load`.

    InputError if data is missing or damaged; DataWarning of test persons that are not trained.
    """
    row = datasets.get(dataset)
    if view is None and not row.recognition:
        raise InputError(
            f"recognition on {row.name} needs a view: give --view 0 to {row.views - 1}")
    if view is None and split not in (None, *row.recognition):
        raise InputError(f"unknown test split {split!r} of {row.name}; choose one of "
                         f"{', '.join(row.recognition)}")
    tests = ["test"] if view is not None else [split] if split else list(row.recognition)
    added = () if view is not None else row.recognition_train
    # Where the tests decide which persons are trained, all of them do, whichever is asked for.
    deciding = row.recognition if row.recognition_tested_only else ()
    # Older downloads hold one test set only, and their training set holds what is added to it here.
    splits = list(dict.fromkeys(["train", *tests, *added, *deciding]))
    required = {"train", *(tests if split else tests[:1])}
    optional = tuple(name for name in splits if name not in required)
    sets, common = _read(row, locate(row, splits, length, root, view, optional), centred, root)
    train = join([sets[name] for name in ("train", *added) if name in sets])
    if deciding:
        tested = np.concatenate([sets[name].labels for name in deciding if name in sets])
        train = train.take(np.isin(train.labels, tested))
        if len(train) == 0:
            raise InputError(f"{row.name}: expected persons both trained and tested, found none")
    sets = {name: sets[name] for name in tests if name in sets}
    persons = np.unique(np.concatenate([train.labels, *(test.labels for test in sets.values())]))
    lost = f"{row.name}: persons of the tests that are not trained can only be misses"
    warn_of_lost(persons, train.labels, lost)
    order = training_order(train.labels, balance=balance and row.balanced, **sampling)

    def as_classes(part: Sequences) -> Sequences:
        return replace(part, labels=np.searchsorted(persons, part.labels))

    tests = {name: as_classes(part) for name, part in sets.items()}
    return Recognition(as_classes(train.take(order)), tests, persons, order=order, **common)


def _read(row: datasets.Dataset, parts: dict[str, Part], centred: bool,
          root: str | Path) -> tuple[dict, dict]:
    """The splits, and what both protocols say of them."""
    sets = {split: read_split(part, row.skeleton, centred) for split, part in parts.items()}
    paths = {split: part.folder for split, part in parts.items()}
    length = next(iter(parts.values())).length
    note = provenance(row, length, root)
    if centred and note.get("joint_order") == "later":  # docs/05-fidelity.md, head-as-origin
        for name, own in sets.items():
            sets[name] = replace(own, skeletons=own.skeletons - own.skeletons[:, :, 3:4])
    names = {int(label): name for label, name in note.get("persons", {}).items()}
    common = {"name": row.name, "length": length, "skeleton": row.skeleton, "paths": paths}
    return sets, common | {"names": names}


def warn_of_lost(tested: np.ndarray, known: np.ndarray, words: str) -> None:
    """A DataWarning, at the line that loads, if some tested labels are not among the known ones."""
    if len(lost := np.setdiff1d(tested, known)):
        shown = [*map(str, lost[:5]), "…"][:len(lost)]
        warnings.warn(f"{words}; here {len(lost)}: {', '.join(shown)}", DataWarning, stacklevel=3)
