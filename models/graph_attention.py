"""Structural relations of one scale of SM-SGE: graph attention over neighbours, all heads at once.

For a node i at position x_i and its neighbours j, itself among them (Section 3.2 of the paper), a
head computes

    g = (x W_in + b_in) W        e_ij = leaky_relu((a_1 g_i + b_1) + (a_2 g_j + b_2), 0.2)
    alpha_i = softmax_j(e_ij)    out_i = elu(sum_j alpha_ij g_j + b)

and the layer is the mean over the heads. `GraphAttention.dense` is this definition, with -1e9 added
to e_ij where two nodes are no neighbours: exp() of that is 0. `GraphAttention.forward` gives
the same from as many nodes around each as the most connected has neighbours, in a hyper-joint graph
of 49 nodes 245 of 2,401 pairs.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import elu, leaky_relu

SLOPE = 0.2  # of the leaky ReLU


class GraphAttention(nn.Module):
    """Node positions (B, f, n, 3) -> structural features (B, f, n, hidden), with `heads` heads.

    bias (n, n): 0 between neighbours, else -1e9 (data.skeleton.bias). Weights: 0 at first.
    """
    def __init__(self, bias: np.ndarray, heads: int, hidden: int):
        super().__init__()
        bias = torch.from_numpy(bias)
        K = int((bias == 0).sum(dim=1).max())  # neighbours of a node, at most
        nearness, around = bias.T.topk(K, dim=0)  # (K, n): the neighbours first, then others
        for name, array in {"bias": bias, "around": around, "nearness": nearness}.items():
            self.register_buffer(name, array, persistent=False)
        self.W_in = nn.Parameter(torch.zeros(3, hidden))
        self.b_in = nn.Parameter(torch.zeros(hidden))
        self.W = nn.Parameter(torch.zeros(heads, hidden, hidden))
        self.a = nn.Parameter(torch.zeros(2, heads, hidden))
        self.b_a = nn.Parameter(torch.zeros(2, heads))
        self.b = nn.Parameter(torch.zeros(heads, hidden))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """W_in from N(0, 1), W and a Glorot-uniform; biases stay 0."""
        self.W_in.normal_(generator=generator)
        hidden = self.W.shape[-1]
        for kernel, outputs in ((self.W, hidden), (self.a, 1)):
            limit = (6 / (hidden + outputs))**0.5
            kernel.uniform_(-limit, limit, generator=generator)

    def dense(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The paper's definition: features (B, f, n, hidden) and alpha (B, f, heads, n, n)."""
        g = (x @ self.W_in + self.b_in)[:, :, None] @ self.W  # (B, f, heads, n, hidden)
        own, other = (g @ a[..., None] + b[:, None, None]
                      for a, b in zip(self.a, self.b_a, strict=True))  # (B, f, heads, n, 1)
        alpha = (leaky_relu(own + other.transpose(-2, -1), SLOPE) + self.bias).softmax(dim=-1)
        return elu(alpha @ g + self.b[:, None]).mean(dim=2), alpha

    def forward(self, x: Tensor) -> Tensor:
        """What `dense` computes, from the neighbours alone.

        Features are linear in positions and the weights alpha_i add up to 1. So a head averages
        positions, which have three coordinates, and maps them afterwards. Neighbours stand relative
        to the node: what they share cancels in the softmax's gradient and would only round it.
        """
        g = torch.cat([self.W_in, self.b_in[None]]) @ self.W  # of (x, y, z, 1): (heads, 4, hidden)
        score = (g @ self.a[..., None]).squeeze(-1)  # (2, heads, 4)
        own, other = score.sum(dim=0), score[1, :, :3]  # of the node itself, of what is away
        positions = x.flatten(0, 1).permute(2, 1, 0).contiguous()  # (3, n, M), M = B f
        away = positions[:, self.around] - positions[:, None]  # (3, K, n, M)
        constant = own[:, 3:] + self.b_a.sum(dim=0)[:, None]  # (heads, 1)
        shared = torch.tensordot(own[:, :3], positions, 1) + constant[..., None]  # (heads, n, M)
        e = torch.tensordot(other, away, 1) + shared[:, None]  # (heads, K, n, M)
        alpha = (leaky_relu(e, SLOPE) + self.nearness[:, :, None]).softmax(dim=1)
        mixed = (alpha[:, None] * away).sum(dim=2) + positions  # (heads, 3, n, M)
        constant = g[:, 3, :, None] + self.b[..., None]  # (heads, hidden, 1)
        features = torch.baddbmm(constant, g[:, :3].transpose(-2, -1), mixed.flatten(2))
        out = elu(features).mean(dim=0).unflatten(1, positions.shape[1:])  # (hidden, n, M)
        return out.permute(2, 1, 0).unflatten(0, x.shape[:2])
