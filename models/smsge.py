"""SM-SGE: A Self-Supervised Multi-Scale Skeleton Graph Encoding Framework for Person
Re-Identification.

Rao, Xu, Hu, Cheng, Hu. ACM Multimedia 2021. https://dl.acm.org/doi/10.1145/3474085.3475330
(https://arxiv.org/abs/2107.01903; TensorFlow code: https://github.com/Kali-Hac/SM-SGE)

A skeleton is a graph at four scales: hyper-joint I, joint J, part P, body B, from fine to coarse.
The multi-scale graph relation network (MGRN) gives each node features from its neighbours
(structural relations, models/graph_attention.py) and from the nodes of its own and the coarser
scales (collaborative relations). An LSTM a scale (models/prefix_lstm.py) reads the graphs of a
frame subset, and the multi-scale skeleton reconstruction (MSR) rebuilds the skeletons of that and
the coarser scales. No labels.

Shapes: B sequences, f frames, n nodes of a scale, D_h LSTM units; M subsets, N nodes of their
prefix tree. `graphs` is a dict I, J, P, B of node positions (B, f, n, 3), as data.skeleton.scales
makes it. Pairs of scales are two letters, source and target: "IJ" is I from J among the relations,
J rebuilt from I among the heads.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

from skeleton_reid.common.errors import InputError
from skeleton_reid.data.skeleton import PUBLISHED
from skeleton_reid.data.skeleton import bias as attention_bias
from skeleton_reid.data.skeleton import get, restore
from skeleton_reid.data.skeleton import scales as node_positions
from skeleton_reid.models.embedding import EmbeddingModel
from skeleton_reid.models.graph_attention import GraphAttention, Neighbours, attend
from skeleton_reid.models.prefix_lstm import PrefixLSTM, PrefixTree, prefix_tree
from skeleton_reid.tensorflow_v1 import published

SCALES = "IJPB"
LOSSES = ("l1", "l2", "MSE")

Graphs = Mapping[str, Tensor]  # by scale
Weights = Sequence[Tensor]  # of the structural features of several scales, (scales, ...) each
Subsets = Sequence[Sequence[int]] | PrefixTree  # frame numbers in reading order, or their tree


def relation(fine: Tensor, coarse: Tensor) -> Tensor:
    """Collaborative relations A_sr = softmax_r(H_s H_r^T), (..., n_s, n_r). H: (..., n, hidden)."""
    # Transposed: a softmax over a short last dimension is several times slower on a CPU.
    return (coarse @ fine.transpose(-2, -1)).softmax(dim=-2).transpose(-2, -1)


class ReconstructionHead(nn.Module):
    """Rebuilds a scale from states, relu(h W_1 + b_1) W_2 + b_2, (..., D_h) -> (..., nodes * 3)."""
    def __init__(self, units: int, nodes: int):
        super().__init__()
        self.W_1 = nn.Parameter(torch.zeros(units, units))
        self.b_1 = nn.Parameter(torch.zeros(units))
        self.W_2 = nn.Parameter(torch.zeros(units, nodes * 3))
        self.b_2 = nn.Parameter(torch.zeros(nodes * 3))

    def forward(self, h: Tensor) -> Tensor:
        return linear(linear(h, self.W_1.T, self.b_1).relu(), self.W_2.T, self.b_2)


def rebuild(heads: Sequence[ReconstructionHead], h: Tensor) -> Tensor:
    """What heads for the same scale make of states: (heads, N, B, D_h) -> (heads, N, B, n * 3)."""
    parts = zip(*(head.parameters() for head in heads), strict=True)
    W_1, b_1, W_2, b_2 = (torch.stack(part) for part in parts)
    hidden = torch.baddbmm(b_1[:, None], h.flatten(1, 2), W_1).relu()
    return torch.baddbmm(b_2[:, None], hidden, W_2).unflatten(1, h.shape[1:3])


class SMSGE(EmbeddingModel):
    """The encoder (MGRN and LSTMs) and its reconstruction heads.

    joints: J. skeleton: plain values of its record, by default of published data with J joints.
    D_h: units of every LSTM layer. scales: those in use. heads, hidden: of the graph attention.
    n_hood: edges up to which joints are neighbours (joint scale); global_att: every two nodes are.
    fusion_lambda: weight of the collaborative relations, can be set; struct_only leaves them out,
    embedding_only the structural ones. same_scale: coarser scales are not rebuilt. loss: l1 (mean
    absolute error), l2 (half the summed square) or MSE. pred_margin: rebuild the skeleton that many
    frames later. reverse: `graphs` turns the frames round. generator: of the initial values, seed 0
    by default. InputError for unknown values, joints without skeleton, scales without groups.
    """

    frames_at_a_time = 3_072

    def __init__(self, joints: int, D_h: int = 256, *, scales: str = SCALES, heads: int = 8,
                 hidden: int = 8, n_hood: int = 1, global_att: bool = False,
                 fusion_lambda: float = 1.0, struct_only: bool = False,
                 embedding_only: bool = False, same_scale: bool = False, loss: str = "l1",
                 pred_margin: int = 0, reverse: bool = False,
                 skeleton: Mapping[str, Any] | None = None,
                 generator: torch.Generator | None = None):
        super().__init__()
        if not scales or set(scales) - set(SCALES) or len(set(scales)) < len(scales):
            raise InputError(f"unknown scales {scales!r}; choose letters of {', '.join(SCALES)}")
        if loss not in LOSSES:
            raise InputError(f"unknown loss {loss!r}; choose one of {', '.join(LOSSES)}")
        if pred_margin < 0:
            raise InputError(f"pred_margin: expected 0 frames or more, found {pred_margin}")
        self.scales = [scale for scale in SCALES if scale in scales]  # fine to coarse
        self.pairs = [scale + other for scale in self.scales for other in self.coarser(scale)]
        self.fusion_lambda, self.struct_only, self.reverse = fusion_lambda, struct_only, reverse
        self.embedding_only, self.loss, self.pred_margin = embedding_only, loss, pred_margin
        self.D_h, self.skeleton = D_h, restore(skeleton) if skeleton else get(joints)
        self._arguments = {"joints": joints, "D_h": D_h, "scales": "".join(self.scales)}
        self._arguments |= {"heads": heads, "hidden": hidden, "n_hood": n_hood, "loss": loss}
        self._arguments |= {"global_att": global_att, "struct_only": struct_only}
        self._arguments |= {"pred_margin": pred_margin, "reverse": reverse}
        # Of these only what is used: earlier checkpoints have none.
        self._arguments |= {"embedding_only": True} if embedding_only else {}
        self._arguments |= {"same_scale": True} if same_scale else {}
        if joints not in PUBLISHED or self.skeleton != get(joints):
            self._arguments["skeleton"] = skeleton
        biases = {s: attention_bias(s, self.skeleton, n_hood, global_att) for s in self.scales}
        self.nodes_of = {scale: len(bias) for scale, bias in biases.items()}
        self.structure = nn.ModuleDict()
        for scale, bias in biases.items():
            attention = GraphAttention(bias, heads, hidden)
            self.structure[scale] = nn.Linear(3, hidden) if embedding_only else attention
        self.relation = nn.ParameterDict(
            {pair: torch.zeros(hidden, hidden) for pair in self.pairs if not struct_only})
        # The structural features that a scale's nodes, and its loss, depend on.
        self.read = [s + r for s in self.scales for r in (s if struct_only else self.coarser(s))]
        self.neighbours = nn.ModuleDict({
            "".join(names): Neighbours([biases[name[-1]] for name in names])
            for names in (self.scales, self.read)
        })
        self.dynamics = PrefixLSTM([n * hidden for n in self.nodes_of.values()], D_h)
        rebuilt = [pair for pair in self.pairs if pair[0] == pair[1] or not same_scale]
        self.head = nn.ModuleDict(
            {pair: ReconstructionHead(D_h, self.nodes_of[pair[1]]) for pair in rebuilt})
        self.initialise(generator or torch.Generator().manual_seed(0))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """As released: matrices N(0, 1), attention and LSTM kernels Glorot-uniform, biases 0."""
        for layer in (*self.structure.values(), self.dynamics):
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(generator=generator)
                layer.bias.zero_()
            else:
                layer.initialise(generator)
        of_heads = (matrix for head in self.head.values() for matrix in (head.W_1, head.W_2))
        for matrix in (*self.relation.values(), *of_heads):
            matrix.normal_(generator=generator)

    @property
    def arguments(self) -> dict:
        """What the constructor needs to build this model again, for checkpoints."""
        return self._arguments | {"fusion_lambda": self.fusion_lambda}

    def coarser(self, scale: str) -> list[str]:
        """The scale itself and those coarser than it."""
        return self.scales[self.scales.index(scale):]

    def graphs(self, skeletons: Tensor) -> dict[str, Tensor]:
        """The graphs of skeletons (B, f, J, 3) in the scales in use."""
        turned = skeletons.flip(1) if self.reverse else skeletons
        return node_positions(turned, self.scales, self.skeleton)

    def structural(
        self, graphs: Graphs, names: Sequence[str] = (),
        weights: Weights = ()) -> dict[str, Tensor]:
        """Structural features H by scale, (B, f, n, hidden), or by names that end in a scale.
        weights: by default the model's (`structure_weights`).
        """
        names = names or self.scales
        weights = weights or self.structure_weights(names)
        x, neighbours = [graphs[name[-1]] for name in names], self.neighbours["".join(names)]
        H = map(linear, x, *weights) if self.embedding_only else attend(x, neighbours, weights)
        return dict(zip(names, H, strict=True))

    def structure_weights(self, names: Sequence[str]) -> list[Tensor]:
        """The parameters that make these structural features, (names, ...) each."""
        parameters = (self.structure[name[-1]].parameters() for name in names)
        return [torch.stack(each) for each in zip(*parameters, strict=True)]

    def collaborate(self, H: Graphs) -> dict[str, Tensor]:
        """Fused features by scale, F_s = H_s + lambda sum_r A_sr H_r W_sr, (B, f, n, hidden), of
        structural features by the pairs of `read`.
        """
        if self.struct_only:
            return {scale: H[scale + scale] for scale in self.scales}
        # All H_r that are read, side by side; M = B f.
        x = torch.cat([H[pair] for pair in self.read], dim=2).flatten(0, 1)  # (M, all, hidden)
        neighbours = self.neighbours["".join(self.read)]
        (W,) = neighbours.of_nodes(torch.stack([self.relation[pair] for pair in self.read]))
        xW = (x.transpose(0, 1) @ W).transpose(0, 1)
        read = {s: [self.nodes_of[r] for r in self.coarser(s)] for s in self.scales}
        parts = (each.split([sum(n_r) for n_r in read.values()], dim=1) for each in (x, xW))
        fused = {}
        for (scale, n_r), H_r, HW in zip(read.items(), *parts, strict=True):
            H_s = H_r[:, :n_r[0]]  # (M, n, hidden), of H_r (M, sum of n_r, hidden)
            scores = (H_r @ H_s.transpose(1, 2)).split(n_r, dim=1)  # (M, n_r, n) of each r
            A = torch.cat([each.softmax(dim=1) for each in scores], dim=1).transpose(1, 2)
            F = torch.add(H_s, A @ HW, alpha=self.fusion_lambda)
            fused[scale] = F.unflatten(0, H[scale + scale].shape[:2])
        return fused

    def nodes(self, graphs: Graphs) -> dict[str, Tensor]:
        """Fused node features of every scale, (B, f, n, hidden) each."""
        H = self.structural(graphs)
        return self.collaborate({pair: H[pair[1]] for pair in self.read})

    def encode(self, nodes: Graphs, tree: PrefixTree) -> Tensor:
        """LSTM outputs (scales, N, B, D_h) at the nodes of a prefix tree, of fused features."""
        return self.dynamics([nodes[scale].flatten(2) for scale in self.scales], tree)

    def source_frames(self, skeletons: Tensor) -> Tensor:
        """The fused features of all nodes of a frame, (B, f, 8 n_I + 8 n_J + 8 n_P + 8 n_B).

        By its published size and cost, "SM-SGE + SimMC" reads these and not the states.
        """
        nodes = self.nodes(self.graphs(skeletons))
        return torch.cat([x.flatten(2) for x in nodes.values()], dim=2)

    def embed(self, skeletons: Tensor) -> Tensor:
        """The states after 1 ... f frames, (B, f, 4 D_h)."""
        return self.states(self.graphs(skeletons))

    def pool(self, frames: Tensor) -> Tensor:
        """The state after all frames."""
        return frames[:, -1]

    def recogniser_rows(self, skeletons: Tensor, settings: Any) -> Tensor:
        """What is recognised: the states after the prefixes, or with `last_pre` the last alone."""
        prefixes = skeletons.shape[1] + (settings.prefixes == "f+1")
        states = self.states(self.graphs(skeletons), prefixes)
        return states[:, -1:] if settings.last_pre else states

    def states(self, graphs: Graphs, prefixes: int | None = None) -> Tensor:
        """The states I|J|P|B after k = 1 ... f frames, (B, f, 4 D_h), in one pass.

        prefixes: f + 1 adds the released code's extra one, a step with an all-zero input.
        """
        nodes = self.nodes(graphs)
        f = nodes[self.scales[0]].shape[1]
        prefixes = f if prefixes is None else prefixes
        if prefixes > f:
            nodes = {scale: pad(x, (0, 0, 0, 0, 0, 1)) for scale, x in nodes.items()}
        tree = prefix_tree([range(prefixes)], nodes[self.scales[0]].device)
        return self.encode(nodes, tree).permute(2, 1, 0, 3).flatten(2)

    def losses(self, graphs: Graphs, subsets: Subsets, weights: Weights = ()) -> dict[str, Tensor]:
        """The loss of each source scale, summed over the rebuilt scales, averaged over the subsets.

        weights: of the structural features that each loss reads (train_smsge.JointStep).
        InputError for frames, pred_margin added, that sequences do not have.
        """
        terms = self.loss_terms(graphs, subsets, weights)
        return {s: torch.stack([*each.values()]).sum(dim=0).mean() for s, each in terms.items()}

    def loss_terms(self, graphs: Graphs, subsets: Subsets,
                   weights: Weights = ()) -> dict[str, dict[str, Tensor]]:
        """The loss on each subset, (M,), by source and target scale; arguments as of `losses`."""
        length, device = graphs[self.scales[0]].shape[1], graphs[self.scales[0]].device
        tree = subsets if isinstance(subsets, PrefixTree) else prefix_tree(subsets, device)
        if tree.last + self.pred_margin >= length:
            raise InputError(
                f"frame subsets reach to {tree.last} (+ {self.pred_margin} ahead), but "
                f"the sequences have frames 0 to {length - 1}")
        h = self.encode(self.collaborate(self.structural(graphs, self.read, weights)), tree)
        frames = tree.frames + self.pred_margin  # to rebuild at the nodes: (N, B, n * 3) by scale
        skeletons = {s: graphs[s].flatten(2).transpose(0, 1)[frames] for s in self.scales}
        weights = tree.passes.to(h)  # (M, N), of each node in each subset's loss
        weights = weights / (2 if self.loss == "l2" else weights.sum(dim=1, keepdim=True))
        terms: dict[str, dict[str, Tensor]] = {scale: {} for scale in self.scales}
        for target in self.scales:
            sources = [scale for scale in self.scales if scale + target in self.head]
            first, last = (self.scales.index(sources[n]) for n in (0, -1))
            heads = [self.head[source + target] for source in sources]
            error = rebuild(heads, h[first:last + 1]) - skeletons[target]  # (sources, N, B, n * 3)
            error = error.abs() if self.loss == "l1" else error.square()
            mean_or_sum = error.sum if self.loss == "l2" else error.mean
            for source, term in zip(sources, mean_or_sum(dim=(2, 3)) @ weights.T, strict=True):
                terms[source][target] = term
        return terms

    @classmethod
    def from_published(cls, variables: Mapping[str, np.ndarray], **options) -> "SMSGE":
        """Model of published variables, arrays by their names without ":0", or InputError."""
        return published.smsge(cls, variables, **options)
