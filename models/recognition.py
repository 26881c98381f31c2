"""The recognition network of AGE and SM-SGE on frozen gait features, and DF of SimMC's tables."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from skeleton_reid.common import processes
from skeleton_reid.models.embedding import EmbeddingModel
from skeleton_reid.tensorflow_v1 import published

COMBINE = {"mean": lambda x: x.mean(1), "sum": lambda x: x.sum(1), "last": lambda x: x[:, -1]}


class RecognitionNetwork(nn.Module):
    """Logits from gait features: linear, ReLU, linear, (..., inputs) -> (..., persons).

    hidden: units (AGE 256, SM-SGE 4 D_h). generator: draws the weights; seed 0 by default.
    """

    draw = staticmethod(nn.init.normal_)  # weights N(0, 1); biases 0

    def __init__(self, inputs: int, persons: int, hidden: int,
                 generator: torch.Generator | None = None):
        super().__init__()
        self.arguments = {"inputs": inputs, "persons": persons, "hidden": hidden}
        self.hidden = nn.Linear(inputs, hidden)
        self.output = nn.Linear(hidden, persons)
        generator = generator or torch.Generator().manual_seed(0)
        for layer in (self.hidden, self.output):
            self.draw(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)

    @classmethod
    def from_published(cls, variables: Mapping[str, np.ndarray]) -> "RecognitionNetwork":
        """The network in a published AGE's or SM-SGE's variables, name -> array, or InputError."""
        return published.recognition(cls, variables)

    def forward(self, features: Tensor) -> Tensor:
        return self.output(torch.relu(self.hidden(features)))


class Recogniser(nn.Module):
    """A recognition network; the logits of a sequence's rows become scores by mean, sum or last."""

    size = 4096  # sequences scored at a time; bounds memory, changes no number
    tied = False  # whether scores depend on the other sequences of a batch

    def __init__(self, inputs: int, persons: int, hidden: int, combine: str = "mean",
                 generator: torch.Generator | None = None):
        super().__init__()
        self.network = RecognitionNetwork(inputs, persons, hidden, generator)
        self.arguments = {**self.network.arguments, "combine": combine}
        self.combine = COMBINE[combine]

    def forward(self, rows: Tensor) -> Tensor:
        """Feature rows (B, R, inputs) -> scores (B, persons)."""
        return self.combine(self.network(rows))

    def losses(self, rows: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The mean cross entropy of feature rows (B, R, inputs) with classes (B,)."""
        return {"loss": cross_entropy(self(rows), labels)}

    @torch.no_grad()
    def scores(self, rows: Tensor) -> Tensor:
        """The same for any number of sequences: (N, R, inputs) -> (N, persons)."""
        return processes.divided(lambda part: (self(part),), rows.split(self.size))[0]


class DF(RecognitionNetwork, EmbeddingModel):
    """Direct supervised fine-tuning of frozen frame features, (B, f, inputs) -> (B, persons).

    SimMC's tables have "SM-SGE + DF", without code. Here it is AGE's recognition network on every
    frame, the logits averaged; the mean of the hidden layer is a sequence's feature. Its 640 units
    follow from the sizes published for KS20: 6.25 M - 5.58 M is 1,025 x 640 + 641 x 20.
    """

    draw = staticmethod(nn.init.xavier_uniform_)  # N(0, 1) would bury what the hidden layer learns

    def encode(self, frames: Tensor) -> Tensor:
        """The hidden layer of every frame. (B, f, inputs) -> (B, f, hidden)."""
        return torch.relu(self.hidden(frames))

    def forward(self, frames: Tensor) -> Tensor:
        return self.output(self.encode(frames).mean(dim=1))
