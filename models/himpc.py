"""Hi-MPC: Hierarchical Skeleton Meta-Prototype Contrastive Learning with Hard Skeleton Mining for
Unsupervised Person Re-Identification.

Rao, Leung, Miao. International Journal of Computer Vision, 2024. https://arxiv.org/abs/2307.12917
(TensorFlow code: https://github.com/Kali-Hac/Hi-MPC)

A skeleton is seen at three levels: its joints J, its components P, its limbs B. Every level has an
encoder of its own and is clustered by itself; no weight, label or loss is shared. Each frame is
contrasted with the prototypes of the clusters under M homogeneous meta-transformations, learned
matrices which map features and prototypes alike (MPC). Hard skeleton mining weights the frames of a
sequence. The levels end to end are the multi-level representation (MSMR), which is retrieved by.

B sequences, f frames, J joints, H features, K prototypes of a level, M transformations.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from skeleton_reid.data.skeleton import Skeleton, get
from skeleton_reid.models.embedding import EmbeddingModel
from skeleton_reid.models.scales import Scales
from skeleton_reid.tensorflow_v1.variables import fill, fill_parts, numbered, pick

LEVELS = "JPB"


class HiMPC(EmbeddingModel):
    """Of every level an MLP (Glorot-uniform, biases 0) and M transformations A, from N(0, 1).

    joints: J of published data, or a skeleton. focus, can be set: 1 mines hard skeletons, -1 easy
    ones, 0 neither.
    """
    def __init__(self, joints: int | Skeleton, H: int = 256, M: int = 8,
                 generator: torch.Generator | None = None, *, focus: int = 1):
        super().__init__()
        generator = generator or torch.Generator().manual_seed(0)
        self.skeleton, self.focus, self._sizes = get(joints), focus, {"H": H, "M": M}
        self.scales = Scales(LEVELS, self.skeleton)
        self.encoder, self.A = nn.ModuleDict(), nn.ParameterDict()
        for level, nodes in self.scales.sizes.items():
            layers = nn.Linear(3 * nodes, H), nn.ReLU(), nn.Linear(H, H)
            for layer in layers[::2]:
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)
            self.encoder[level] = nn.Sequential(*layers)
            self.A[level] = nn.init.normal_(torch.empty(M, H, H), generator=generator)

    @property
    def arguments(self) -> dict[str, int]:
        """What the constructor needs beside the skeleton to build this model again."""
        return self._sizes | {"focus": self.focus}

    def encode(self, skeletons: Tensor) -> dict[str, Tensor]:
        """Frame features v (B, f, H) of skeletons (B, f, J, 3) at the levels J, P, B."""
        nodes = self.scales(skeletons)
        return {level: self.encoder[level](nodes[level].flatten(2)) for level in LEVELS}

    def levels(self, skeletons: Tensor) -> tuple[Tensor, ...]:
        """The means u (B, H) of the frame features at each level, which are clustered."""
        return tuple(v.mean(dim=1) for v in self.encode(skeletons).values())

    def transformed(self, features: Iterable[Tensor]) -> list[Tensor]:
        """Features (..., H) of J, P, B under the mean of the level's transformations, (..., H)."""
        return [v @ self.A[level].mean(dim=0) for v, level in zip(features, LEVELS, strict=True)]

    def embed(self, skeletons: Tensor) -> Tensor:
        """MSMR of every frame, (B, f, 3 H): the transformed features, levels J | P | B."""
        return torch.cat(self.transformed(self.encode(skeletons).values()), dim=2)

    def features(self, skeletons: Tensor) -> Tensor:
        """MSMR of the sequences, (B, 3 H): the mean of u A_m over m, end to end J | P | B."""
        return self.embed(skeletons).mean(dim=1)

    def contrasts(self, skeletons: Tensor, labels: Tensor,
                  prototypes: Sequence[Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """By level the errors of the frames and their importance, (M, B, f) each.

        skeletons: (B, f, J, 3). labels: (3, B), the clusters of each sequence at the levels.
        prototypes: three (K, H), constants.
        """
        v, given = self.encode(skeletons), zip(LEVELS, labels, prototypes, strict=True)
        return {
            level: contrast(v[level], self.A[level], y, C.detach(), self.focus)
            for level, y, C in given
        }

    def losses(self, skeletons: Tensor, labels: Tensor,
               prototypes: Sequence[Tensor]) -> dict[str, Tensor]:
        """The scalars J, P, B and total, a third of their sum; arguments as of `contrasts`."""
        losses = {}
        for level, (errors, weights) in self.contrasts(skeletons, labels, prototypes).items():
            heads = (weights * errors).sum(dim=2).mean(dim=1)  # (M,)
            # docs/05-fidelity.md, joint-loss-summed
            losses[level] = heads.sum() if level == "J" else heads.mean()
        return losses | {"total": sum(losses.values()) / len(LEVELS)}

    @classmethod
    def from_published(cls, variables: Mapping[str, np.ndarray]) -> "HiMPC":
        """Model of published variables, name -> array (W_1, Encoder/Variable ...), or InputError.

        The second, unused copy of each transformation is ignored (nested-copies).
        """
        inputs, H = pick(variables, "W_1").shape
        heads = [re.fullmatch(r"Hi_MPC/Hi_MPC/Variable(_\d+)?", name) for name in variables]
        model = cls(inputs // 3, H, max(1, sum(map(bool, heads)) // len(LEVELS)))
        for i, level in enumerate(LEVELS):
            suffix = "" if level == "J" else f"_{level}"
            first, _, second = model.encoder[level]
            fill(first.weight, variables, f"W_1{suffix}")
            fill(first.bias, variables, numbered("Encoder/Variable", i))
            fill(second.weight, variables, f"W_2{suffix}")
            fill(second.bias, variables, numbered("Encoder/Variable", len(LEVELS) + i))
            for m, A in enumerate(model.A[level]):
                name = numbered("Hi_MPC/Hi_MPC/Variable", len(LEVELS) * m + i)
                fill_parts([A], variables, name)
        return model


def contrast(v: Tensor, A: Tensor, labels: Tensor, prototypes: Tensor,
             focus: int) -> tuple[Tensor, Tensor]:
    """One level's errors and their weights under every transformation, (M, B, f) each.

    The error of a frame is the cross entropy of softmax(s) with its cluster, where s is the product
    of the frame with every meta-prototype, s = <v A, C A> / sqrt(H). The weights are the importance
    of the frames (hard skeleton mining): a sequence that is placed rightly is learned from the
    frames which fit its cluster least, another from those which fit the wrong cluster most.

    v: (B, f, H). A: (M, H, H). labels: (B,). prototypes C: (K, H). focus: as of HiMPC.
    """
    (B, f, H), M = v.shape, len(A)
    z = (v.flatten(0, 1) @ A / H**0.5).unflatten(1, (B, f))  # (M, B, f, H)
    D = prototypes @ A  # (M, K, H), the meta-prototypes
    s = z.flatten(1, 2) @ D.mT  # (M, B f, K)
    clusters = labels.repeat_interleave(f).repeat(M)
    errors = cross_entropy(s.flatten(0, 1), clusters, reduction="none").unflatten(0, (M, B, f))
    if focus not in (1, -1):
        return errors, torch.ones_like(errors)
    predicted = (z.mean(dim=2) @ D.mT).argmax(dim=2)  # (M, B)
    sign = torch.where(predicted == labels, -focus, focus)
    of_sequence = D[torch.arange(M, device=D.device)[:, None], predicted]  # (M, B, H)
    fit = (z @ of_sequence[..., None]).squeeze(-1)  # of each frame to the predicted cluster
    # The gradient runs through the weights too: docs/05-fidelity.md, gradient-through-importance.
    return errors, (sign[..., None] * fit).softmax(dim=2)
