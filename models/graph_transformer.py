"""The graph transformer of TranSG and MoCos, and the encoder with prototypes around it.

B sequences, f frames, J joints, n nodes of a graph, H features, k numbers in a node's position,
C persons.
"""

from collections.abc import Iterator, Mapping
from itertools import count, takewhile
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from skeleton_reid.common.errors import InputError
from skeleton_reid.data import skeleton as graphs
from skeleton_reid.data.skeleton import Skeleton, get
from skeleton_reid.models.embedding import EmbeddingModel
from skeleton_reid.tensorflow_v1.variables import in_order, numbered, pick


class GraphTransformer(nn.Module):
    """Layers of attention with nothing between them, then one residual and one feed-forward block.

    k: 0 for nodes without positions. running: batch norm learns averages for evaluation. Dense
    layers are Glorot-uniform at first, attention N(0, 1). InputError unless n_heads divides H.
    """
    def __init__(self, H: int, n_heads: int, layers: int, k: int, running: bool = False,
                 generator: torch.Generator | None = None):
        super().__init__()
        if H % n_heads:
            raise InputError(f"--H: expected a multiple of the {n_heads} heads, found {H}")
        self.embedding = nn.Sequential(nn.Linear(3, H), nn.ReLU(), nn.Linear(H, H))
        self.position = nn.Linear(k, H) if k else None
        self.QKV = nn.Parameter(torch.empty(layers, n_heads, 3, H, H // n_heads))
        self.guide = nn.Identity()  # of the scores (B, f, heads, n, n); MoCos has motifs
        self.residual = nn.Linear(H, H)
        self.widen, self.narrow = nn.Linear(H, 2 * H), nn.Linear(2 * H, H)
        # docs/05-fidelity.md, batch-norm-never-updated: averages stay 0 and 1 unless `running`
        self.norm_1, self.norm_2 = (nn.BatchNorm1d(H, eps=0.001, momentum=0.01 if running else 0.0)
                                    for _ in "12")
        self.dropout_1, self.dropout_2 = nn.Dropout(0.5), nn.Dropout(0.5)
        for layer in filter(lambda each: isinstance(each, nn.Linear), self.modules()):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.QKV, generator=generator)

    def forward(self, x: Tensor, positions: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Features (B, f, n, H) of nodes x (B, f, n, 3) at positions (n, k), and of every layer the
        weights (B, f, heads, n, n): softmax over a frame's nodes of clamp(Q K' / sqrt(d), -5, 5).
        """
        heads, d = self.QKV.shape[1], self.QKV.shape[4]
        h_0 = self.embedding(x)  # (B, f, n, H)
        if self.position is not None:
            h_0 = h_0 + self.position(positions)
        h, weights = h_0, []
        for W in self.QKV.permute(0, 3, 2, 1, 4).flatten(2):  # (H, 3 H): all heads in one product
            Q, K, V = (h @ W).unflatten(-1, (3, heads, d)).permute(3, 0, 1, 4, 2, 5)
            scores = (Q @ K.transpose(-2, -1) / d**0.5).clamp(-5, 5)
            weights.append(self.guide(scores).softmax(dim=-1))
            h = (weights[-1] @ V).transpose(2, 3).flatten(3)  # the heads side by side
        h = h_0 + self.residual(self.dropout_1(h))
        n_1 = self.norm_1(h.flatten(0, 2)).view_as(h)
        h = n_1 + self.narrow(self.dropout_2(self.widen(n_1).relu()))
        return self.norm_2(h.flatten(0, 2)).view_as(h), weights


class PrototypeEncoder(EmbeddingModel):
    """A graph transformer whose features are drawn to prototypes, the mean features of persons.

    joints: the skeleton, J of published data, or None: that of the first skeletons seen. level: the
    nodes, joints J, parts P or bodies B. batch_norm: frozen or running (averages for evaluation).
    positions: a buffer (n, k), k at most n - 1, by default data.skeleton.positions.
    """
    frames_at_a_time = 384  # their attention stays in the cache; 1,536 take a quarter longer

    def __init__(self, joints: int | Skeleton | None, H: int, n_heads: int, layers: int, k: int,
                 batch_norm: str, generator: torch.Generator | None, level: str = "J"):
        super().__init__()
        self.arguments = {"H": H, "n_heads": n_heads, "layers": layers, "k": k}
        self.level, running = level, batch_norm == "running"
        self.k = k if joints is None else graphs.positions(joints, k, level).shape[1]
        self.transformer = GraphTransformer(H, n_heads, layers, self.k, running, generator)
        self.F_1, self.F_2 = (nn.Parameter(torch.randn(H, H, generator=generator)) for _ in "12")
        self.heads: tuple[nn.Linear, ...] = ()
        self.register_buffer("positions", None)
        if joints is not None:
            self.take(joints)

    def take(self, joints: int | Skeleton, basis: str = "canonical") -> None:
        """Take the skeleton and the positions of its nodes, of data.skeleton.positions."""
        self.skeleton, positions = get(joints), graphs.positions(joints, self.k, self.level, basis)
        self.positions = torch.from_numpy(positions).to(self.F_1)

    def relate(self, skeletons: Tensor,
               positions: Tensor | None = None) -> tuple[Tensor, Tensor, list[Tensor]]:
        """The nodes (B, f, n, 3) of skeletons (B, f, J, 3), and what GraphTransformer makes of them
        at positions (n, k), by default the model's.
        """
        if self.positions is None:
            self.take(skeletons.shape[2])
        x = graphs.scales(skeletons, self.level, self.skeleton)[self.level]
        return x, *self.transformer(x, self.positions if positions is None else positions)

    def encode(self, skeletons: Tensor, positions: Tensor | None = None) -> Tensor:
        """Frame features (B, f, H) of skeletons (B, f, J, 3): the mean of the nodes' features."""
        return self.relate(skeletons, positions)[1].mean(dim=2)

    def skeleton_contrast(self, g: Tensor, labels: Tensor, prototypes: Tensor, t: float) -> Tensor:
        """Cross entropy of softmax((g F_1) (c F_2)' / t) with the persons (B,), nothing normalised,
        summed over the frames. g: (B, f, H). prototypes c: (C, H), constants.
        """
        logits = (g @ self.F_1) @ (prototypes.detach() @ self.F_2).T / t  # (B, f, C)
        y = labels.repeat_interleave(g.shape[1])
        return cross_entropy(logits.flatten(0, 1), y, reduction="sum") / len(g)

    def published(self) -> Iterator[tuple[str, Tensor]]:
        """The published variables and their places."""
        own = self.transformer
        layers = *own.embedding[::2], own.position, own.residual, own.widen, own.narrow
        heads = [part for layer in self.heads for part in (layer.weight.T, layer.bias)]
        # Of the attention number 3 (layer n_heads + head) is Q, then K and V.
        matrices = *own.QKV.flatten(0, 2), *heads, self.F_1, self.F_2
        return in_order(type(self).__name__, (*layers, own.norm_1, own.norm_2), matrices)

    @classmethod
    def from_published(cls, variables: Mapping[str, np.ndarray]) -> Self:
        """Model of published variables, name -> array (TranSG/dense/kernel ...), or InputError."""
        own = f"{cls.__name__}/{cls.__name__}/Variable"
        H, d = pick(variables, own).shape
        names = takewhile(variables.__contains__, (numbered(own, n) for n in count()))
        shapes = [variables[name].shape for name in names]
        biases = [shape[0] for shape in shapes if len(shape) == 1]  # of TranSG: H, 3 J, H / 2, 3 f
        layers = (len(shapes) - 2 * len(biases) - 2) * d // (3 * H)
        model = cls(*[size // 3 for size in biases[1::2]] or [None], H=H, n_heads=H // d,
                    k=len(pick(variables, f"{cls.__name__}/dense_2/kernel")), layers=layers)
        for name, tensor in model.published():
            tensor.data.copy_(pick(variables, name, tensor.shape))
        return model
