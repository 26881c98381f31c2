"""The recognition network that AGE and SM-SGE train on top of frozen gait features."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import InputError
from models.published import set_linear

# Kernel and bias of both layers in the published checkpoints. A finished SM-SGE also holds the
# unused recogniser of its pre-training graph, Variable to _3: Variable_4 to _7 go first.
_SMSGE = "Recognition/Recognition/Variable"
PUBLISHED = (
    (f"{_SMSGE}_4", f"{_SMSGE}_5", f"{_SMSGE}_6", f"{_SMSGE}_7"),
    (_SMSGE, f"{_SMSGE}_1", f"{_SMSGE}_2", f"{_SMSGE}_3"),
    ("W1", "b1", "W", "Variable"),  # AGE
    ("W1", "b1", "W", "b"))


class RecognitionNetwork(nn.Module):
    """Logits from gait features: linear, ReLU, linear, (..., inputs) -> (..., persons).

    hidden: units (AGE 256, SM-SGE 4 D_h). generator: draws the weights; seed 0 by default.
    """
    def __init__(self, inputs: int, persons: int, hidden: int,
                 generator: torch.Generator | None = None):
        super().__init__()
        self.arguments = {"inputs": inputs, "persons": persons, "hidden": hidden}
        self.hidden = nn.Linear(inputs, hidden)
        self.output = nn.Linear(hidden, persons)
        self.reset(generator or torch.Generator().manual_seed(0))

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Draw new weights N(0, 1); biases 0."""
        for layer in (self.hidden, self.output):
            layer.weight.normal_(generator=generator)
            layer.bias.zero_()

    @classmethod
    def from_published(cls, variables: Mapping[str, np.ndarray]) -> "RecognitionNetwork":
        """The network in a published AGE's or SM-SGE's variables, name -> array, or InputError."""
        names = next((names for names in PUBLISHED if all(n in variables for n in names)), None)
        if names is None:
            found = ", ".join(sorted(variables)[:8]) or "none"
            raise InputError(f"no recognition network {PUBLISHED[2]} or {_SMSGE}..., found {found}")
        kernel, persons = variables[names[0]], variables[names[2]].shape[-1]
        network = cls(len(kernel), persons, kernel.shape[-1])
        set_linear(network.hidden, variables, *names[:2])
        set_linear(network.output, variables, *names[2:])
        return network

    def forward(self, features: Tensor) -> Tensor:
        return self.output(torch.relu(self.hidden(features)))
