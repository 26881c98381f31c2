"""Direct supervised fine-tuning (DF): a small network, trained with labels, on frozen features.

The SimMC paper's tables (Rao and Miao, IJCAI 2022) set "SM-SGE + DF" beside "SM-SGE + SimMC",
without code. Here it is one hidden ReLU layer for every frame feature and a linear layer for the
mean over the frames, which is AGE's recognition network (the mean of the frames' logits). The mean
of the hidden layer is the feature of a sequence.

Its 640 units follow from the published sizes on KS20, 6.25 M with DF and 5.58 M without: 4 D_h =
1,024 numbers a frame and 20 persons make 1,024 x 640 + 640 + 640 x 20 + 20 = 668,820 parameters.
"""

import torch
from torch import Tensor, nn

from models.recognition import RecognitionNetwork


class DF(RecognitionNetwork):
    """Logits of the persons from frame features, (B, f, inputs) -> (B, persons)."""
    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Glorot-uniform weights: N(0, 1) would bury what the hidden layer learns. Biases 0."""
        for layer in (self.hidden, self.output):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)

    def encode(self, frames: Tensor) -> Tensor:
        """The hidden layer of every frame. (B, f, inputs) -> (B, f, hidden)."""
        return torch.relu(self.hidden(frames))

    def forward(self, frames: Tensor) -> Tensor:
        """(B, f, inputs) -> logits (B, persons)."""
        return self.output(self.encode(frames).mean(dim=1))
