"""How TensorFlow 1 stores the layers of the published checkpoints, and the same layers in PyTorch.

TensorFlow's kernels are (inputs, outputs); PyTorch's weights are (outputs, inputs). An LSTM's input
and recurrent kernels are one matrix whose gates stand in the order i, j, f, o (PyTorch: i, f, g, o
with g = j), and the forget bias of 1 is added when the cell runs, not stored.
"""

from collections.abc import Mapping

import numpy as np
import torch

from common.errors import InputError


def pick(
    variables: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """The named variable. InputError where it is missing or has another shape than `shape`."""
    if name not in variables:
        raise InputError(
            f"the published weights have no variable {name!r}: not a checkpoint of this model?"
        )
    if shape is not None and tuple(variables[name].shape) != tuple(shape):
        raise InputError(
            f"published variable {name!r}: expected shape {tuple(shape)}, "
            f"found {tuple(variables[name].shape)}"
        )
    return variables[name]


def tensor(array: np.ndarray) -> torch.Tensor:
    """A float32 copy of an array."""
    return torch.tensor(np.asarray(array), dtype=torch.float32)


def set_linear(layer: torch.nn.Linear, kernel: np.ndarray, bias: np.ndarray) -> None:
    """Fill a linear layer from a TensorFlow kernel (inputs, outputs) and bias (outputs,)."""
    layer.weight.data.copy_(tensor(kernel).T)
    layer.bias.data.copy_(tensor(bias))


def lstm_gates_to_torch(array: torch.Tensor) -> torch.Tensor:
    """Swap the middle two of four gates in the last axis, 4 * units wide: TensorFlow's i, j, f, o
    to PyTorch's i, f, g, o, or back.
    """
    i, j, f, o = array.chunk(4, dim=-1)
    return torch.cat([i, f, j, o], dim=-1)
