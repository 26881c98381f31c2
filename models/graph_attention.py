"""Structural relations of SM-SGE: graph attention over neighbours, all heads at once.

For a node i at position x_i and its neighbours j, itself among them (Section 3.2 of the paper), a
head computes

    g = (x W_in + b_in) W        e_ij = leaky_relu((a_1 g_i + b_1) + (a_2 g_j + b_2), 0.2)
    alpha_i = softmax_j(e_ij)    out_i = elu(sum_j alpha_ij g_j + b)

and the layer is the mean over the heads. `GraphAttention.dense` is this definition, with -1e9 added
to e_ij where two nodes are no neighbours: exp() of that is 0. `attend` gives the same from as many
nodes around each as the most connected has neighbours, in a hyper-joint graph of 49 nodes 245 of
2,401 pairs, and for several layers, each on its own graph, as if these were one.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.linalg import block_diag
from torch import Tensor, nn
from torch.nn.functional import elu, leaky_relu

SLOPE = 0.2  # of the leaky ReLU


class GraphAttention(nn.Module):
    """Node positions (B, f, n, 3) -> structural features (B, f, n, hidden), with `heads` heads.

    bias (n, n): 0 between neighbours, else -1e9 (data.skeleton.bias). Weights: 0 at first.
    """
    def __init__(self, bias: np.ndarray, heads: int, hidden: int):
        super().__init__()
        self.register_buffer("bias", torch.from_numpy(bias), persistent=False)
        self.neighbours = Neighbours([bias])
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
        """What `dense` computes, from the neighbours alone."""
        return attend([x], self.neighbours, [p[None] for p in self.parameters()])[0]


class Neighbours(nn.Module):
    """The nodes of G graphs side by side, n in all, and of each the K that are or may stand for
    neighbours. biases: of the graphs.
    """
    def __init__(self, biases: Sequence[np.ndarray]):
        super().__init__()
        near = block_diag(*(bias == 0 for bias in biases))
        bias = torch.where(torch.from_numpy(near), 0.0, -1e9)
        nearness, around = bias.topk(int(near.sum(axis=1).max()))  # (n, K), the neighbours first
        graph = torch.tensor([number for number, bias in enumerate(biases) for _ in bias])
        for name, array in {"graph": graph, "around": around, "nearness": nearness}.items():
            self.register_buffer(name, array, persistent=False)

    def of_nodes(self, *weights: Tensor) -> list[Tensor]:
        """Weights of the graphs, (G, ...) each -> those of the graph of each node, (n, ...)."""
        rows = torch.cat([weight.flatten(1) for weight in weights], dim=1)
        parts = rows.index_select(0, self.graph).split([w[0].numel() for w in weights], dim=1)
        return [part.unflatten(1, w.shape[1:]) for part, w in zip(parts, weights, strict=True)]


def attend(graphs: Sequence[Tensor], neighbours: Neighbours,
           weights: Sequence[Tensor]) -> list[Tensor]:
    """Structural features (B, f, nodes, hidden) of each graph of node positions (B, f, nodes, 3).
    weights: the parameters of the graphs' layers, (G, ...) each.

    Features are linear in positions and the weights alpha_i add up to 1. So a head averages
    positions, which have three coordinates, and maps them afterwards. Neighbours stand relative to
    the node: what they share cancels in the softmax's gradient and would only round it.
    """
    W_in, b_in, W, a, b_a, b = weights  # M = B f
    g = torch.cat([W_in, b_in[:, None]], dim=1)[:, None] @ W  # of (x, y, z, 1)
    own, other = (g[:, None] @ a[..., None]).squeeze(-1).unbind(1)  # (G, heads, 4)
    # Scores of the node itself and of what is away.
    g, b, own, other, b_a = neighbours.of_nodes(g, b, own + other, other, b_a.sum(dim=1))
    x = torch.cat([*graphs], dim=2).permute(3, 2, 0, 1).flatten(2).contiguous()  # (3, n, M)
    away = (x[:, neighbours.around] - x[:, :, None]).transpose(0, 1)  # (n, 3, K, M)
    x = x.transpose(0, 1)
    slope, constant = own.split([3, 1], dim=2)
    shared = torch.baddbmm(constant + b_a[:, :, None], slope, x)  # (n, heads, M)
    e = torch.bmm(other[:, :, :3], away.flatten(2)).unflatten(2, away.shape[2:])
    e = e + shared[:, :, None] + neighbours.nearness[:, None, :, None]  # (n, heads, K, M)
    alpha = leaky_relu(e, SLOPE, inplace=True).softmax(dim=2)
    mixed = (alpha[:, :, None] * away[:, None]).sum(dim=3) + x[:, None]  # (n, heads, 3, M)
    slope, constant = g.transpose(2, 3).flatten(0, 1).split([3, 1], dim=2)  # (n heads, hidden, .)
    features = torch.baddbmm(constant + b.flatten(0, 1)[:, :, None], slope, mixed.flatten(0, 1))
    out = elu(features, inplace=True).unflatten(0, b.shape[:2]).mean(dim=1)  # (n, hidden, M)
    out = out.permute(2, 0, 1).unflatten(0, graphs[0].shape[:2])
    return [*out.split([x.shape[2] for x in graphs], dim=2)]
