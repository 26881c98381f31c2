"""Small raw data and ways to run preprocess.py, shared by its tests."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import preprocess
from skeleton_reid.common.errors import run_command
from skeleton_reid.data.raw.kgbd import KINECT_V1

AUTHOR_ORDER = (3, 2, 8, 4, 9, 5, 10, 6, 11, 7, 1, 0, 16, 12, 17, 13, 18, 14, 19, 15)


def run(*words: object) -> None:
    """Run preprocess.py in this process, as its command line does."""
    before, sys.argv = sys.argv, ["preprocess.py", *map(str, words)]
    try:
        run_command(preprocess.main)
    finally:
        sys.argv = before


def refused(capsys: pytest.CaptureFixture, *words: object) -> str:
    """The one line with which preprocess.py refuses to go on, with exit code 2, after warnings."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        run(*words)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"(warning: .*\n(  .*\n)*)*error: .*\n", said), said
    return said.splitlines()[-1]


def read_part(folder: Path, suffix: str, joints: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """Windows (N, f, J, 3), labels and ids that preprocess.py wrote."""
    prefix = "source" if "train" in folder.name else "t_source"
    axes = [np.load(folder / f"{prefix}_{axis}_{suffix}.npy") for axis in "xyz"]
    labels = np.load(folder / f"frame_id_{suffix}.npy")
    ids = np.load(folder / f"ids_{suffix}.npy", allow_pickle=True).item()
    assert {axis.dtype for axis in axes} == {np.dtype(np.float64)}
    return np.stack(axes, axis=-1).reshape(len(labels), -1, joints, 3), labels, ids


def read_split(folder: Path) -> dict:
    return json.loads((folder / "split.json").read_text())


def write_kgbd(folder: Path, frames: dict[str, np.ndarray],
               order: tuple[int, ...] = AUTHOR_ORDER) -> None:
    """One file a name such as "Person001/1.txt" with its frames (n, 20, 3), joints named, listed in
    `order`.
    """
    for name, skeletons in frames.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            ";".join(
                [KINECT_V1[joint].title().replace(" ", "-"), *map(repr, frame[joint].tolist())])
            for frame in skeletons for joint in order
        ]
        path.write_text("\n".join(lines) + "\n")


def random_kgbd(persons: int, recordings: int, length: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random recordings for `write_kgbd`, `length` frames and more."""
    random = np.random.RandomState(seed)
    return {
        f"Person{person:03d}/{number}.txt": random.normal(size=(length + random.randint(9), 20, 3))
        for person in range(1, persons + 1) for number in range(1, recordings + 1)
    }


def write_casia_b(folder: Path, persons: int, frames: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random videos of two conditions from two views in the three file formats, and one from a
    third view.
    """
    random = np.random.RandomState(seed)
    names = [
        f"{person:03d}-{condition}-01-{view}" for person in range(1, persons + 1)
        for condition in ("nm", "cl") for view in ("000", "018")
    ]
    videos = {name: random.normal(size=(frames, 14, 3)) for name in [*names, "001-nm-01-180"]}
    folder.mkdir(parents=True, exist_ok=True)
    for i, (name, video) in enumerate(videos.items()):
        if i % 3 == 0:
            np.save(folder / f"{name}.npy", video)
        elif i % 3 == 1:
            (folder / f"{name}.json").write_text(json.dumps(video.tolist()))
        else:
            rows = video.reshape(frames, 42) if i % 2 else video.reshape(-1, 3)
            text = "\n".join(",".join(map(repr, row)) for row in rows.tolist())
            (folder / f"{name}.csv").write_text(text + "\n")
    return videos
