"""Fixtures that the tests share: golden files, small random data sets on disk, and training scripts
on them.
"""

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from archives import unpack
from checkpoints import write
from commands import run
from recorders import put
from training import Training

from skeleton_reid.common.log import log
from skeleton_reid.data import datasets
from skeleton_reid.data.layouts import Part, layouts

# Small matrices: a second thread costs more than it brings, several times so on a busy machine.
torch.set_num_threads(1)


def pytest_configure(config):
    if "gpu" not in config.option.markexpr:  # tests are the same where a GPU is
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip("needs a GPU, and `pytest -m gpu`"))


@pytest.fixture(autouse=True)
def keep_denormal_numbers():
    """Training takes them for zero in its process, which is that of the tests here."""
    yield
    torch.set_flush_denormal(False)


GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Path]:
    """golden(name): the path of tests/golden/<name>."""
    return lambda name: GOLDEN / name


@pytest.fixture(scope="session")
def released_trees(golden, tmp_path_factory) -> Path:
    """Raw trees of four data sets and, in Datasets/, what the released preprocessing makes of them
    at f = 6.
    """
    folder = tmp_path_factory.mktemp("released")
    unpack(golden("preprocess.tar.xz"), folder)
    return folder


@pytest.fixture(scope="session")
def write_dataset() -> Callable:
    """The function below, for tests that need a small data set on disk."""
    return _write_dataset


@pytest.fixture
def described(tmp_path) -> Callable[..., Path]:
    """described(skeleton, format, ending, **keys): the description of files <person>/<recording>
    with this ending below the test's folder, in metres with y up.
    """
    def describe(skeleton: str, form: str, ending: str = "", **keys: object) -> Path:
        keys = {"unit": "m", "up": "y", "recordings": f"{{person}}/{{recording}}{ending}"} | keys
        keys = {"skeleton": skeleton, "format": form} | keys
        put(tmp_path / "own.yaml",
            yaml.safe_dump({key: value for key, value in keys.items() if value is not None}))
        return tmp_path / "own.yaml"

    return describe


@pytest.fixture(autouse=True)
def closed_log() -> Iterator[None]:
    """A command's log ends with the test: what it was written to is closed then."""
    yield
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()


@pytest.fixture
def training(tmp_path, write_dataset) -> Callable[[str], Training]:
    """training("AGE"): the script of a method in a folder of the test's own."""
    return lambda method: Training(method, tmp_path, write_dataset)


@pytest.fixture(scope="session")
def once(tmp_path_factory, write_dataset) -> Callable[..., tuple[Training, dict]]:
    """once("AGE", "--epochs", 2): a run that many tests compare with, made once, and its results.

    Its files are only for reading.
    """
    @cache
    def train(method: str, *arguments: object) -> tuple[Training, dict]:
        run = Training(method, tmp_path_factory.mktemp("once"), write_dataset)
        return run, run(*arguments)

    return train


@pytest.fixture
def folder(tmp_path):
    """A folder with encoder.pt and recordings <person>/<number>.npy of six random persons."""
    write(tmp_path / "encoder.pt", "SimMC")
    rng = np.random.RandomState(0)
    for person in range(6):
        pose = rng.normal(scale=0.3, size=(20, 3))
        pose[[3, 15, 19], 1] = 0.8, -0.8, -0.8  # head and feet
        (tmp_path / f"p{person}").mkdir()
        for number in range(3):
            frames = pose + rng.normal(scale=0.15, size=(25, 20, 3))
            np.save(tmp_path / f"p{person}" / f"{number}.npy", frames)
    return tmp_path


@pytest.fixture
def people(folder):
    """The file of a gallery with the first recording of the first four persons."""
    path = folder / "people.gallery"
    files = [folder / f"p{person}" / "0.npy" for person in range(4)]
    assert run("gallery", "add", path, *files, "--checkpoint", folder / "encoder.pt") == 0
    return path


def _write_dataset(root: Path, dataset: str, length: int, persons: int, windows: int,
                   rng: np.random.RandomState, layout: int = 0, view: int | None = None,
                   noise: float = 0.3) -> dict[str, Part]:
    """Write a random data set and return the files of every split that the layout holds.

    Every split has `windows` windows of `length` frames of each of the persons 0 … persons - 1: the
    person's own mean pose, N(0, 1), and noise of this deviation in every frame. layout: number in
    the list of data.layouts; 0 is the project's.
    """
    row = datasets.get(dataset)
    where = layouts(row, length, Path(root), view)[layout]
    splits = ("train", "test") if view is not None else ("train", *row.splits)
    poses = rng.normal(size=(persons, len(row.skeleton), 3))
    parts = {split: where.part(split) for split in splits}
    for part in filter(None, parts.values()):
        labels = np.repeat(np.arange(persons), windows)
        errors = rng.normal(scale=noise, size=(len(labels) * length, len(row.skeleton), 3))
        write_part(part, poses[np.repeat(labels, length)] + errors, labels)
    return {split: part for split, part in parts.items() if part}


def write_part(part: Part, rows: np.ndarray, labels: np.ndarray) -> None:
    """Write one split. rows (N*f, J, 3), labels (N,)."""
    part.folder.mkdir(parents=True, exist_ok=True)
    for i, axis in enumerate("xyz"):
        np.save(part.axis(axis), rows[..., i])
    np.save(part.frame_id, labels)
    ids = {int(label): np.flatnonzero(labels == label).tolist() for label in np.unique(labels)}
    np.save(part.ids, np.array(ids, dtype=object))
