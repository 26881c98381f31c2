"""The recognition network that AGE and SM-SGE train on top of frozen gait features."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import InputError
from models.published import pick, set_linear

# First kernel and bias, second kernel and bias in the published checkpoints. A finished SM-SGE
# checkpoint also holds the recogniser of its pre-training graph, Variable to Variable_3, which is
# never used: Variable_4 to _7 go first.
_SMSGE = "Recognition/Recognition/Variable"
PUBLISHED = (
    (f"{_SMSGE}_4", f"{_SMSGE}_5", f"{_SMSGE}_6", f"{_SMSGE}_7"),
    (_SMSGE, f"{_SMSGE}_1", f"{_SMSGE}_2", f"{_SMSGE}_3"),
    ("W1", "b1", "W", "Variable"),  # AGE
    ("W1", "b1", "W", "b"),
)


class RecognitionNetwork(nn.Module):
    """Logits from gait features: linear, ReLU, linear, (..., inputs) -> (..., persons).

    inputs: size of a feature (AGE 3H for `ap`, 3fH for `sc`; SM-SGE 4 D_h). hidden: units (AGE 256,
    SM-SGE 4 D_h). generator: draws the weights; seed 0 by default.
    """

    def __init__(
        self, inputs: int, persons: int, hidden: int, generator: torch.Generator | None = None
    ):
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
        """The network with the weights of a published AGE or SM-SGE recogniser.

        variables: arrays by the checkpoint's names without ":0"; others in it are ignored. Raises
        InputError where neither recogniser is complete, or its arrays do not fit together.
        """
        names = next((names for names in PUBLISHED if all(n in variables for n in names)), None)
        if names is None:
            raise InputError(
                f"no recognition network among the published variables: expected "
                f"{', '.join(PUBLISHED[2])} (AGE) or {_SMSGE}_4 to _7 (SM-SGE), found "
                f"{', '.join(sorted(variables)[:8]) or 'none'}"
            )
        inputs, hidden = len(variables[names[0]]), variables[names[0]].shape[-1]
        persons = variables[names[2]].shape[-1]
        network = cls(inputs, persons, hidden)
        shapes = ((inputs, hidden), (hidden,), (hidden, persons), (persons,))
        arrays = [pick(variables, *each) for each in zip(names, shapes, strict=True)]
        set_linear(network.hidden, *arrays[:2])
        set_linear(network.output, *arrays[2:])
        return network

    def forward(self, features: Tensor) -> Tensor:
        return self.output(torch.relu(self.hidden(features)))
