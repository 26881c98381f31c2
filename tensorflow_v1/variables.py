"""The variables of published TensorFlow 1 checkpoints, and the tensors that they fill.

TensorFlow's kernels are (inputs, outputs), PyTorch's weights (outputs, inputs).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from skeleton_reid.common.errors import InputError


def pick(variables: Mapping[str, np.ndarray], name: str,
         shape: tuple[int, ...] | None = None) -> Tensor:
    """The named variable, float32. InputError where it is missing or not of the shape `shape`."""
    if name not in variables:
        raise InputError(f"no variable {name!r}: not a checkpoint of this model?")
    array = variables[name]
    if shape is not None and array.shape != tuple(shape):
        raise InputError(
            f"variable {name!r}: expected shape {tuple(shape)}, found {tuple(array.shape)}")
    return torch.tensor(np.asarray(array), dtype=torch.float32)


def fill(parameter: nn.Parameter, variables: Mapping[str, np.ndarray], name: str) -> None:
    """Copy the named variable, a kernel (inputs, outputs) or bias (outputs,), into a parameter."""
    parameter.data.copy_(pick(variables, name, parameter.shape[::-1]).t())


def fill_parts(parts: Sequence[Tensor], variables: Mapping[str, np.ndarray], name: str) -> None:
    """Copy the named variable into parameters, or parts of them, that lie in it one below the other
    and as they are. InputError where it is missing or has another number of numbers.
    """
    array = pick(variables, name).flatten()
    sizes = [part.numel() for part in parts]
    if len(array) != sum(sizes):
        raise InputError(f"variable {name!r}: expected {sum(sizes)} numbers, found {len(array)}")
    for part, values in zip(parts, array.split(sizes), strict=True):
        part.data.copy_(values.view_as(part))


def numbered(name: str, number: int) -> str:
    """TensorFlow's names of equals: x, x_1, x_2."""
    return f"{name}_{number}" if number else name


def in_order(method: str, layers: Iterable[nn.Module],
             matrices: Iterable[Tensor]) -> Iterator[tuple[str, Tensor]]:
    """TensorFlow's names of a method's dense layers, batch norms and further matrices, each kind
    numbered in the order in which it was made, and the tensors that they are.
    """
    counts: Counter[str] = Counter()
    for layer in layers:
        kind, parts = "dense", {"kernel": layer.weight.t(), "bias": layer.bias}
        if not isinstance(layer, nn.Linear):
            kind, parts = "batch_normalization", {"gamma": layer.weight, "beta": layer.bias}
            parts |= {"moving_mean": layer.running_mean, "moving_variance": layer.running_var}
        name = numbered(f"{method}/{kind}", counts[kind])
        yield from ((f"{name}/{part}", tensor) for part, tensor in parts.items())
        counts[kind] += 1
    for number, matrix in enumerate(matrices):
        yield numbered(f"{method}/{method}/Variable", number), matrix
