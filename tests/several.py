"""Two processes as torchrun starts them, and the work that tests compare with one process's.

    python tests/several.py FOLDER        does `work` there, in the environment of one of them
"""

import atexit
import os
import socket
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import distributed

from skeleton_reid.engine.methods import METHODS

ROOT = Path(__file__).parent.parent
EPOCHS = dict.fromkeys(METHODS, 2) | {"SimMC": 3, "statistics": 3}  # of `work`'s runs


def start(count: int, *words: object, **pipes) -> list[subprocess.Popen]:
    """Start `count` processes of a Python script, each with the environment that torchrun gives."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    environment |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    environment |= {"TORCHELASTIC_RUN_ID": "test"}
    environment |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *map(str, words)]
    return [
        subprocess.Popen(command, cwd=ROOT, text=True, **pipes,
                         env=environment | {"RANK": str(number), "LOCAL_RANK": str(number)})
        for number in range(count)
    ]


def gradients() -> dict[str, np.ndarray]:
    """Window statistics' loss, gradients and running statistics of batches, in double precision."""
    from skeleton_reid.common import processes
    from skeleton_reid.models.simmc import prototype_contrast
    from skeleton_reid.models.statistics import Statistics

    found = {}
    for size in (2, 7, 64):
        torch.manual_seed(size)
        model, vectors = Statistics(5, 8, 4).double(), torch.randn(3, 4).double().requires_grad_()
        windows, labels = torch.randn(size, 2 * model.d).double(), torch.randint(3, (size,))
        own, weight = processes.part(size)
        loss = weight * prototype_contrast(model(windows[own], size), labels[own], vectors, 0.1)
        loss.backward()
        parameters = dict(model.named_parameters()) | {"vectors": vectors}
        losses = processes.average_gradients({"loss": loss}, parameters.values(), weight=1)
        arrays = losses | {name: p.grad for name, p in parameters.items()}
        arrays |= dict(model.named_buffers())
        found |= {f"{name} {size}": x.numpy() for name, x in arrays.items()}
    return found


def work(folder: Path) -> None:
    """Train as the command lines in `folder` say, cluster and rank what is there."""
    from skeleton_reid.common import processes
    from skeleton_reid.reid import jaccard, neighbours, ranking
    from tests import commands
    from tests.training import SCRIPTS

    torch.set_num_threads(1)
    for method in EPOCHS:
        words = (folder / f"{method}.txt").read_text().split()
        assert commands.run(SCRIPTS[method].name, *words) == 0
    arrays = np.load(folder / "features.npz")
    mapped = np.load(folder / "features.npy", mmap_mode="c")
    with (mock.patch.object(neighbours, "BLOCK_BYTES",
                            40_000), mock.patch.object(neighbours, "COLUMNS", 300),
          mock.patch.object(jaccard, "BLOCK_ENTRIES",
                            5_000), mock.patch.object(ranking, "BLOCK_CELLS", 20_000)):
        found = {"labels": jaccard.cluster(mapped, 0.6, 4)}
        found["rank"], found["precision"] = ranking.ranks(**arrays)
        few = torch.from_numpy(mapped[:25])  # a block for one of the processes
        found["few"] = neighbours.nearest_neighbours(few, 20).numpy()
    with (mock.patch.object(neighbours, "BLOCK", 24), mock.patch.object(neighbours, "TILE", 100),
          mock.patch.object(neighbours, "DIRECTIONS", 4)):
        x = torch.from_numpy(mapped)
        search = neighbours.Subspace(x, x.square().sum(dim=1), 20)
        found["by_subspace"] = search.neighbours().numpy()
    whole = gradients()
    if processes.number() == 0:
        np.savez(folder / "found.npz", **found)
        np.savez(folder / "gradients.npz", **whole)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))
    group = Path(sys.argv[1]) / f"group{os.environ['RANK']}.txt"
    # What is registered first is called last.
    atexit.register(lambda: group.open("a").write(f" {distributed.is_initialized()}"))
    work(Path(sys.argv[1]))
    group.write_text(str(distributed.is_initialized()))
