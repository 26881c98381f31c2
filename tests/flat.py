"""Golden files that keep all variables of a model end to end, in the order of the checkpoint.

meta (JSON): the settings; variables, name -> shape; every: of what is compared with gradients and
weights after steps only each so many-th number is kept.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch


def split(numbers: np.ndarray, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Variables, name -> array, of all their numbers end to end."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes.values()])
    parts = np.split(numbers, ends[:-1])
    return {n: part.reshape(shape) for (n, shape), part in zip(shapes.items(), parts, strict=True)}


class Golden:
    """One golden file of a model class, with the model that has its weights."""
    def __init__(self, path: Path, model_class: type[torch.nn.Module], **options):
        with np.load(path) as file:
            self.arrays = {name: file[name] for name in file.files}
        self.meta = json.loads(str(self.arrays["meta"]))
        self.shapes, size = self.meta["variables"], len(self.arrays["w"])
        self.variables = split(self.arrays["w"], self.shapes)
        self.model = model_class.from_published(self.variables, **options)
        # Where each number of a parameter stands: a model whose weights are these places.
        self.places = model_class.from_published(
            split(np.arange(size, dtype=np.float32), self.shapes))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[name])

    def flat(self, of: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
        """What `of` takes from the parameters, end to end as in the checkpoint."""
        numbers = np.full(len(self.arrays["w"]), np.nan, np.float32)
        for own, place in zip(self.model.parameters(), self.places.parameters(), strict=True):
            numbers[place.long()] = of(own).detach()
        assert not np.isnan(numbers).any()
        return numbers

    def largest(self, numbers: np.ndarray) -> np.ndarray:
        """For every number the largest one of its variable, in absolute value."""
        parts = split(numbers, self.shapes).values()
        return np.concatenate([np.full(part.size, np.abs(part).max()) for part in parts])

    def kept(self, numbers: np.ndarray) -> np.ndarray:
        return numbers[::self.meta["every"]]
