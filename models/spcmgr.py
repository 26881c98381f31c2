"""SPC-MGR: Skeleton Prototype Contrastive Learning with Multi-level Graph Relation Modeling for
Unsupervised Person Re-Identification.

Rao, Miao. 2022. https://arxiv.org/abs/2208.11814
(TensorFlow code: https://github.com/Kali-Hac/SPC-MGR)

The graph layers of SM-SGE (models/smsge.py), structural and collaborative relations, at three
scales: parts P, bodies B, hyper-bodies H. The fused nodes of a frame are its feature; the
mean over the frames is contrasted with the prototypes of the clusters, as in SimMC.

B sequences, f frames, J joints, n nodes of a scale, K prototypes, t temperature.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from skeleton_reid.data.skeleton import Skeleton, bias, get, scales
from skeleton_reid.models.embedding import EmbeddingModel
from skeleton_reid.models.graph_attention import GraphAttention
from skeleton_reid.models.scales import Scales
from skeleton_reid.models.simmc import prototype_contrast
from skeleton_reid.models.smsge import relation
from skeleton_reid.tensorflow_v1 import published
from skeleton_reid.tensorflow_v1.variables import fill_parts, pick

SCALES = "PBH"  # fine to coarse
PUBLISHED_RELATIONS = ("PB", "PH", "BH", "PP", "BB", "HH")  # the variables 6 ... 11


class SPCMGR(EmbeddingModel):
    """Graph attention at three scales and the matrices W, from N(0, 1), of every pair of them.

    joints: J of published data, or a skeleton. heads, hidden: of the graph attention. Can be set:
    fusion_lambda, the weight of the collaborative relations; struct_only, which leaves them out.
    """
    def __init__(self, joints: int | Skeleton = 20, heads: int = 8, hidden: int = 8,
                 fusion_lambda: float = 1.0, struct_only: bool = False,
                 generator: torch.Generator | None = None):
        super().__init__()
        self.skeleton, self._sizes = get(joints), {"heads": heads, "hidden": hidden}
        self.fusion_lambda, self.struct_only = fusion_lambda, struct_only
        self.scales = Scales(SCALES, self.skeleton)
        generator = generator or torch.Generator().manual_seed(0)
        self.structure, self.relation = nn.ModuleDict(), nn.ParameterDict()
        for scale in SCALES:
            self.structure[scale] = GraphAttention(bias(scale, self.skeleton), heads, hidden)
            self.structure[scale].initialise(generator)
        for pair in PUBLISHED_RELATIONS:
            self.relation[pair] = nn.init.normal_(torch.empty(hidden, hidden), generator=generator)

    @property
    def arguments(self) -> dict[str, float]:
        """What the constructor needs beside the skeleton to build this model again."""
        own = {"fusion_lambda": self.fusion_lambda, "struct_only": self.struct_only}
        return self._sizes | own

    def nodes(self, skeletons: Tensor) -> dict[str, Tensor]:
        """Fused node features of skeletons (B, f, J, 3) by scale, (B, f, n, hidden) each.

        F_s = S_s + lambda sum_r A_sr S_r W_sr, S the structural features, r no finer than s.
        """
        # The groups of joints are the same in all published data: weights fit every J of them.
        own = skeletons.shape[2] == len(self.skeleton)
        graphs = self.scales(skeletons) if own else scales(skeletons, SCALES)
        S = {scale: self.structure[scale](graphs[scale]) for scale in SCALES}
        fused = dict(S)
        for pair, W in {} if self.struct_only else self.relation.items():
            s, r = pair
            fused[s] = fused[s] + self.fusion_lambda * (relation(S[s], S[r]) @ (S[r] @ W))
        return fused

    def encode(self, skeletons: Tensor) -> Tensor:
        """The fused nodes of every frame P | B | H, node by node: (B, f, 18 hidden)."""
        nodes = self.nodes(skeletons)
        return torch.cat([nodes[scale].flatten(2) for scale in SCALES], dim=2)

    def levels(self, skeletons: Tensor) -> tuple[Tensor]:
        """What is clustered, the mean of the frames' features, (B, 18 hidden)."""
        return (self.encode(skeletons).mean(dim=1),)

    def loss(self, skeletons: Tensor, labels: Tensor, prototypes: Tensor, temperature: float,
             counts: Tensor | None = None) -> Tensor:
        """The scalar `total` of `losses`."""
        return self.losses(skeletons, labels, prototypes, temperature, counts)["total"]

    def losses(self, skeletons: Tensor, labels: Tensor, prototypes: Tensor, temperature: float,
               counts: Tensor | None = None) -> dict[str, Tensor]:
        """total: cross entropy of softmax(cos(feature, c) / t) with the clusters of a batch.

        skeletons: (B, f, J, 3). labels: (B,). prototypes c: (K, 18 hidden), constants. counts: ()
        bool, whether it is not 0: by default if not every label of the batch is
        (docs/05-fidelity.md, all-zero-labels).
        """
        feature = self.encode(skeletons).mean(dim=1)
        counts = labels.any() if counts is None else counts
        return {"total": prototype_contrast(feature, labels, prototypes, temperature) * counts}

    @classmethod
    def from_published(cls, variables: Mapping[str, np.ndarray], **options) -> "SPCMGR":
        """Model of published variables, name -> array (MG/MG/Variable ...), or InputError.

        They do not tell the number of joints: the model takes that of any published data.
        """
        hidden = pick(variables, "MG/MG/Variable").shape[1]
        heads = sum(name.startswith("MG/BiasAdd") for name in variables) // len(SCALES)
        model = cls(heads=max(1, heads), hidden=hidden, **options)
        for name, parts in model._published():
            fill_parts(parts, variables, name)
        return model

    def _published(self) -> Iterator[tuple[str, list[Tensor]]]:
        """Each published variable and what it fills."""
        for number, scale in enumerate(SCALES):
            yield from published.graph_attention(self.structure[scale], "MG", number)
        for number, pair in enumerate(PUBLISHED_RELATIONS, 2 * len(SCALES)):
            yield f"MG/MG/Variable_{number}", [self.relation[pair]]
