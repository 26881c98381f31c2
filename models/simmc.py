"""SimMC: A Simple Masked Contrastive Learning Framework for Unsupervised Skeleton-Based Person
Re-Identification.

Rao, Miao. IJCAI 2022. https://arxiv.org/abs/2204.09826
(TensorFlow code: https://github.com/Kali-Hac/SimMC)

Section 3.1, masked prototype contrastive learning (MPC): the mean feature of the frames that a
random mask keeps is drawn to the prototype of its cluster. Section 3.2, masked intra-sequence
contrastive learning (MIC): the features of two masks of one sequence are drawn together through a
predictor, without gradient through the target.

B sequences, f frames, J joints, H features, K prototypes, t temperature, lambda weight of MIC.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from skeleton_reid.common.errors import InputError
from skeleton_reid.models.embedding import EmbeddingModel
from skeleton_reid.tensorflow_v1 import published


class SimMC(EmbeddingModel):
    """Frame encoder (an MLP, Glorot-uniform at first) and MIC predictor (N(0, 1)); biases 0.

    inputs: numbers in a frame, J * 3 or another model's d. H: feature size. D: hidden layers.
    """
    def __init__(self, inputs: int, H: int = 256, D: int = 1,
                 generator: torch.Generator | None = None):
        super().__init__()
        self.arguments = {"inputs": inputs, "H": H, "D": D}
        sizes = [inputs] + [H] * (D + 1)
        self.encoder = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.predictor = nn.Linear(H, H)
        for layer in self.encoder:
            nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.normal_(self.predictor.weight, generator=generator)
        for layer in (*self.encoder, self.predictor):
            nn.init.zeros_(layer.bias)

    @classmethod
    def from_published(cls, variables: Mapping[str, np.ndarray]) -> "SimMC":
        """Model of published variables, name -> array (SimMC/dense/kernel ...), or InputError."""
        return published.simmc(cls, variables)

    def encode(self, skeletons: Tensor) -> Tensor:
        """Frame features (B, f, H) of skeletons (B, f, J, 3), or of frame features (B, f, d)."""
        h = skeletons.flatten(2)  # (B, f, J * 3)
        for layer in self.encoder[:-1]:
            h = functional.relu(layer(h))
        return self.encoder[-1](h)  # (B, f, H)

    def losses(self, skeletons: Tensor, masks: Tensor, labels: Tensor, prototypes: Sequence[Tensor],
               temperature: float, mask_lambda: float,
               counts: Tensor | None = None) -> dict[str, Tensor]:
        """The scalars MPC_1, MPC_2, MPC, MIC and total = lambda MIC + (1 - lambda) MPC of a batch.

        skeletons: (B, f, J, 3). masks: (2, f) bool, the frames that each mask keeps. labels: (2, B)
        cluster of each sequence in the two clusterings. prototypes: two tensors (K, H). counts:
        (2,) bool, whether MPC counts: by default if not every label of the batch is 0.
        """
        mpc_counts = labels.any(dim=1) if counts is None else counts
        frames = self.encode(skeletons)  # (B, f, H)
        v1, v2 = (masked_mean(frames, mask) for mask in masks)  # (B, H)
        # Counts: docs/05-fidelity.md, all-zero-labels. A product keeps the decision on the device.
        mpc_1 = prototype_contrast(v1, labels[0], prototypes[0], temperature) * mpc_counts[0]
        mpc_2 = prototype_contrast(v2, labels[1], prototypes[1], temperature) * mpc_counts[1]
        # MIC = -(mean cos(u1, sg(v2)) + mean cos(u2, sg(v1))) / 2, u = predictor(v)
        u1, u2 = self.predictor(v1), self.predictor(v2)  # (B, H)
        mic = -(_cosine(u1, v2.detach()) + _cosine(u2, v1.detach())) / 2
        total = mask_lambda * mic + (1 - mask_lambda) * (mpc_1 + mpc_2)
        return {"MPC_1": mpc_1, "MPC_2": mpc_2, "MPC": mpc_1 + mpc_2, "MIC": mic, "total": total}


def masked_mean(frames: Tensor, mask: Tensor) -> Tensor:
    """The mean over the frames that the mask keeps. (..., f, H), (f,) bool -> (..., H)."""
    return (frames * mask[:, None]).sum(dim=-2) / mask.sum()  # the host need not know how many


def prototype_contrast(v: Tensor, labels: Tensor, prototypes: Tensor, temperature: float) -> Tensor:
    """MPC: cross entropy of softmax(cos(v, c) / t) with the cluster labels.

    v: (B, H). labels: (B,). prototypes c: (K, H), mean features or vectors that are learned.
    """
    logits = _normalise(v) @ _normalise(prototypes).T / temperature  # (B, K)
    return functional.cross_entropy(logits, labels.long())  # of any integer type


def _normalise(x: Tensor) -> Tensor:
    # TensorFlow's l2_normalize bounds the squared norm by 1e-12, hence the norm by 1e-6.
    return functional.normalize(x, dim=-1, eps=1e-6)


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    """Mean cosine of the rows of a and b, both (B, H)."""
    return (_normalise(a) * _normalise(b)).sum(dim=-1).mean()


def draw_masks(rng: np.random.RandomState, f: int, dropped: Sequence[int]) -> np.ndarray:
    """Masks (len(dropped), f) bool, each keeps f - x random frames; InputError unless 1 to f."""
    masks = np.zeros((len(dropped), f), dtype=bool)
    for mask, x in zip(masks, dropped, strict=True):
        if not 0 <= x < f:
            raise InputError(f"a mask leaves out 0 to {f - 1} of {f} frames, found {x}")
        mask[rng.choice(f, f - x, replace=False)] = True
    return masks


def mean_of_clusters(features: Tensor, labels: Tensor) -> Tensor:
    """Prototypes (K, H): means of features (N, H) by cluster, labels (N,); -1: noise."""
    labels = labels.long()  # of any integer type
    counts = torch.bincount(labels[labels >= 0]).clamp(min=1)  # of an empty cluster 0
    sums = features.new_zeros(len(counts), features.shape[1])
    return sums.index_add_(0, labels[labels >= 0], features[labels >= 0]) / counts[:, None]
