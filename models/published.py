"""How TensorFlow 1 stores the layers of the published checkpoints, and the same layers in PyTorch.

TensorFlow's kernels are (inputs, outputs); PyTorch's weights are (outputs, inputs). An LSTM's input and recurrent
kernels are one matrix whose gates stand in the order i, j, f, o (PyTorch: i, f, g, o with g = j), and the forget
bias of 1 is added when the cell runs, not stored.
"""

import numpy as np
import torch


def tensor(array: np.ndarray) -> torch.Tensor:
    """A float32 copy of an array."""
    return torch.tensor(np.asarray(array), dtype=torch.float32)


def set_linear(layer: torch.nn.Linear, kernel: np.ndarray, bias: np.ndarray | None = None) -> None:
    """Fill a linear layer from a TensorFlow kernel (inputs, outputs) and bias (outputs,)."""
    with torch.no_grad():
        layer.weight.copy_(tensor(kernel).T)
        if bias is not None:
            layer.bias.copy_(tensor(bias))


def lstm_gates_to_torch(array: torch.Tensor) -> torch.Tensor:
    """Reorder the last axis, 4 * units wide, from TensorFlow's gates i, j, f, o to PyTorch's i, f, g, o.

    The order swaps the two middle gates, so the same function goes either way.
    """
    i, j, f, o = array.chunk(4, dim=-1)
    return torch.cat([i, f, j, o], dim=-1)
