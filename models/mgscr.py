"""MG-SCR: Multi-Level Graph Encoding with Structural-Collaborative Relation Learning for
Skeleton-Based Person Re-Identification.

Rao, Xu, Hu, Cheng, Hu. IJCAI 2021. https://www.ijcai.org/proceedings/2021/0135
(https://arxiv.org/abs/2106.03069; TensorFlow code: https://github.com/Kali-Hac/MG-SCR)

A skeleton is a graph at three levels: joints J, parts P, bodies B, from fine to coarse. Each node
gathers features from its neighbours (structural relations, models/graph_attention.py), each part
from the joints and each body from the parts (collaborative relations); both are copied back to
their joints. An LSTM reads the joints' features. It is first taught, without labels, to predict the
next skeleton from sparse frame subsets (SSP); then the whole network is trained with labels.

Shapes: S sequences, f frames, J joints, n nodes of a level, D_h LSTM units, R readings of k frames,
C persons. `graphs` is a dict J, P, B of node positions (S, f, n, 3). A reading is the frame numbers
that the LSTM reads, in this order: (k,) for all sequences alike or (S, k), a row a sequence.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skeleton_reid.data.skeleton import Skeleton, bias, get
from skeleton_reid.models.embedding import EmbeddingModel
from skeleton_reid.models.graph_attention import GraphAttention
from skeleton_reid.models.prefix_lstm import PrefixLSTM, PrefixTree, prefix_tree, take
from skeleton_reid.models.recognition import RecognitionNetwork
from skeleton_reid.models.scales import Scales
from skeleton_reid.models.smsge import ReconstructionHead, relation
from skeleton_reid.tensorflow_v1 import published
from skeleton_reid.tensorflow_v1.variables import fill_parts, numbered, pick

LEVELS = "JPB"
HEADS = HIDDEN = 8  # of the graph attention
PAIRS = ("PJ", "BP")  # who gathers from whom
UNUSED = "BJ"  # its matrix W_13 is held and never read by the released code
L2_WEIGHT = 0.0005

Graphs = Mapping[str, Tensor]  # by level
Readings = Sequence[Any] | PrefixTree  # arrays of frame numbers, or their tree


class MGSCR(EmbeddingModel):
    """Graph encoder, LSTM, prediction head and recogniser.

    skeleton: its record, or the number of joints of published data. persons: C. c_lambda: weight of
    the coarse levels in the joints' features, can be set. frames: how recognition reads prefixes of
    1, 2, ... frames, as a `subset` or `tiled` as the released code does. prefixes: of up to f-1 (as
    released) or f frames. feature: that of `encode`, the joints' (`nodes`) or the LSTM's `state`.
    unused_relation: hold the released code's W_13, which enters only the L2 term. generator: of the
    initial values, as released: matrices N(0, 1), kernels Glorot-uniform, biases 0; seed 0.
    """

    frames_at_a_time = 3_072

    def __init__(self, skeleton: Skeleton | int, D_h: int = 128, persons: int = 2,
                 c_lambda: float = 0.3, frames: str = "subset", prefixes: str = "f-1",
                 feature: str = "nodes", unused_relation: bool = False,
                 generator: torch.Generator | None = None):
        super().__init__()
        self.skeleton = get(skeleton)
        self.c_lambda, self.tiled, self.feature = c_lambda, frames == "tiled", feature
        self.unread = 1 if prefixes == "f-1" else 0  # last frames, by every prefix
        self.arguments = {"D_h": D_h, "persons": persons, "c_lambda": c_lambda, "frames": frames}
        self.arguments |= {"prefixes": prefixes, "feature": feature}
        self.arguments |= {"unused_relation": unused_relation}
        self.scales = Scales(LEVELS, self.skeleton)
        self.structure = nn.ModuleDict(
            {level: GraphAttention(bias(level, self.skeleton), HEADS, HIDDEN) for level in LEVELS})
        pairs = (*PAIRS, UNUSED) if unused_relation else PAIRS
        self.relation = nn.ParameterDict({pair: torch.zeros(HIDDEN, HIDDEN) for pair in pairs})
        self.dynamics = PrefixLSTM([len(self.skeleton) * HIDDEN], D_h)
        self.prediction = ReconstructionHead(D_h, len(self.skeleton))
        generator = generator or torch.Generator().manual_seed(0)
        self.recogniser = RecognitionNetwork(D_h, persons, D_h, generator)
        for layer in (*self.structure.values(), self.dynamics):
            layer.initialise(generator)
        for matrix in (*self.relation.values(), self.prediction.W_1, self.prediction.W_2):
            nn.init.normal_(matrix, generator=generator)

    def graphs(self, skeletons: Tensor) -> dict[str, Tensor]:
        """The graphs of hip-centred skeletons (S, f, J, 3)."""
        return self.scales(skeletons)

    def structural(self, graphs: Graphs) -> dict[str, Tensor]:
        """Structural features H of every level, (S, f, n, 8) (Section 3.2)."""
        return {level: self.structure[level](graphs[level]) for level in LEVELS}

    def nodes(self, graphs: Graphs) -> dict[str, Tensor]:
        """Node features of every level, (S, f, n, 8): F of the joints, P', B' (Section 3.3)."""
        H = self.structural(graphs)
        fused = {}
        for coarse, fine in PAIRS:
            gathered = relation(H[coarse], H[fine]) @ H[fine]  # C = softmax(H_c H_f^T) H_f
            fused[coarse] = H[coarse] + gathered @ self.relation[coarse + fine]
        # F_j = H_j + lambda (P'_part(j) + B'_body(j)): a joint belongs to one node of a level.
        back = sum((getattr(self.scales, level).transpose(-2, -1) > 0).to(x) @ x
                   for level, x in fused.items())
        return {"J": H["J"] + self.c_lambda * back, **fused}

    def read(self, graphs: Graphs, readings: Readings) -> tuple[Tensor, PrefixTree]:
        """The LSTM's outputs (N, S, D_h) at the nodes of the readings' tree, and that tree."""
        made = isinstance(readings, PrefixTree)
        tree = readings if made else prefix_tree(readings, graphs["J"].device)
        return self.dynamics([self.nodes(graphs)["J"].flatten(2)], tree)[0], tree

    def states(self, graphs: Graphs, readings: Readings) -> Tensor:
        """The LSTM's last output of each reading, (S, R, D_h)."""
        outputs, tree = self.read(graphs, readings)
        return outputs.index_select(0, tree.ends).transpose(0, 1)

    def losses(self, graphs: Graphs, readings: Readings,
               batch: int | None = None) -> dict[str, Tensor]:
        """SSP: every output predicts the next frame's joints. each: (R,), half the summed squared
        error of each reading; prediction, total: their mean.

        batch: sequences in all, if these are a part of them, whose sums then stand for the whole.
        """
        outputs, tree = self.read(graphs, readings)
        joints = graphs["J"].flatten(2).transpose(0, 1)  # (f, S, 3 J)
        error = self.prediction(outputs) - take(joints, tree.frames + 1)
        half = 0.5 * (batch or joints.shape[1]) / joints.shape[1]
        each = half * tree.passes.to(error) @ error.square().sum(dim=(1, 2))  # of (N,)
        return {"each": each, "prediction": each.mean(), "total": each.mean()}

    def prefixes(self, graphs: Graphs) -> PrefixTree:
        """The readings that recognition sums up: the first k = 1, 2, ... frames."""
        S, f = graphs["J"].shape[:2]
        return prefix_readings(f - self.unread, S if self.tiled else None, graphs["J"].device)

    def scores(self, graphs: Graphs, readings: Readings | None = None) -> Tensor:
        """Scores of the persons, the sum of the readings' logits, (S, C)."""
        readings = self.prefixes(graphs) if readings is None else readings
        return self.recogniser(self.states(graphs, readings)).sum(dim=1)

    def weight_decay(self, unread: bool = True) -> Tensor:
        """Half the summed square of all parameters, or of those that the scores depend on."""
        idle = set() if unread else {*self.prediction.parameters(), self.relation.get(UNUSED)}
        return 0.5 * sum(p.square().sum() for p in self.parameters() if p not in idle)

    def encode(self, skeletons: Tensor) -> Tensor:
        """What is retrieved by: F of every frame, (S, f, 8 J), or the last state, (S, 1, D_h)."""
        graphs = self.graphs(skeletons)
        if self.feature == "state":
            return self.states(graphs, self.prefixes(graphs))[:, -1:]
        return self.nodes(graphs)["J"].flatten(2)

    def recogniser_rows(self, skeletons: Tensor, settings: Any) -> Tensor:
        """The states after the prefixes, (S, R, D_h), a batch at a time as in training."""
        graphs = map(self.graphs, skeletons.split(settings.batch_size))
        return torch.cat([self.states(own, self.prefixes(own)) for own in graphs])

    @classmethod
    def from_published(cls, variables: Mapping[str, np.ndarray], c_lambda: float = 0.3,
                       **options) -> "MGSCR":
        """Model of published variables, arrays by their names without ":0", or InputError.

        The variables tell J, D_h and C; lambda stands in the folder's name.
        """
        D_h, width = pick(variables, "Prediction/Prediction/Variable_2").shape
        persons = len(pick(variables, "Recognition/Recognition/Variable_3"))
        model = cls(width // 3, D_h, persons, c_lambda, **{"unused_relation": True} | options)
        for name, parts in model._published():
            fill_parts(parts, variables, name)
        return model

    def _published(self) -> Iterator[tuple[str, list[Tensor]]]:
        """Each published variable and the parameters, one below the other, that it fills."""
        for order, layer in enumerate(self.structure.values()):
            yield from published.graph_attention(layer, "Multi_Level", order)
        for number, pair in enumerate((*PAIRS, UNUSED), 6):
            if pair in self.relation:
                yield f"Multi_Level/Multi_Level/Variable_{number}", [self.relation[pair]]
        for number, parameter in enumerate(self.prediction.parameters()):
            yield numbered("Prediction/Prediction/Variable", number), [parameter]
        yield from published.prefix_lstm(self.dynamics, "Prediction", 0)
        for number, parameter in enumerate(self.recogniser.parameters()):
            yield numbered("Recognition/Recognition/Variable",
                           number), [parameter.mT if parameter.ndim == 2 else parameter]


@cache
def prefix_readings(last: int, sequences: int | None, device: torch.device) -> PrefixTree:
    """Prefixes of 1, 2, ... `last` frames, tiled over so many sequences; on the device once."""
    subsets = [np.arange(k) for k in range(1, last + 1)]
    return prefix_tree([tiled(s, sequences) for s in subsets] if sequences else subsets, device)


def tiled(subset: Sequence[int], sequences: int) -> np.ndarray:
    """The frames that the released code reads of a subset T of k frames, (sequences, k).

    It repeats T element by element in place of the whole, so that sequence s of a batch of S reads
    at step p frame T[(s k + p) // S]: about k times the same one, which depends on s.
    """
    return np.repeat(subset, sequences).reshape(sequences, len(subset))
