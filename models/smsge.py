"""SM-SGE: A Self-Supervised Multi-Scale Skeleton Graph Encoding Framework for Person
Re-Identification.

Rao, Hu, Cheng, Hu. ACM Multimedia 2021. https://dl.acm.org/doi/10.1145/3474085.3475330
(https://arxiv.org/abs/2107.01903; TensorFlow code: https://github.com/Kali-Hac/SM-SGE)

A skeleton is a graph at four scales: hyper-joint I, joint J, part P, body B, from fine to coarse.
The multi-scale graph relation network (MGRN) gives each node features from its neighbours
(structural relations) and from the nodes of its own and the coarser scales (collaborative
relations). An LSTM a scale reads the graphs of a frame subset, and the multi-scale skeleton
reconstruction (MSR) rebuilds the skeletons of that and the coarser scales. No labels.

Shapes: B sequences, f frames, n nodes of a scale, D_h LSTM units; M subsets, N nodes of their
prefix tree. `graphs` is a dict I, J, P, B of node positions (B, f, n, 3), as data.skeleton.scales
makes it. Pairs of scales are two letters, source and target: "IJ" is I from J among the relations,
J rebuilt from I among the heads.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from common.errors import InputError
from data.skeleton import bias as attention_bias
from data.skeleton import scales as all_scales
from models.collaboration import Fusion, relation
from models.graph_attention import NeighbourAttention, neighbour_groups, relations
from models.prefix_lstm import PrefixLSTM, PrefixTree, Steps, place, prefix_tree
from models.published import pick, tensor

SCALES = "IJPB"
LOSSES = ("l1", "l2", "MSE")
# In the order of the published variables 8 ... 18; number 11 is not used.
PUBLISHED_RELATIONS = ("JP", "PB", "JB", None, "IJ", "IP", "IB", "II", "JJ", "PP", "BB")


class Reading(NamedTuple):
    """Frame subsets as a model reads them: their tree, and what each node counts in each subset's
    loss (M, N).
    """

    steps: Steps
    weights: Tensor


class StructuralRelations(nn.Module):
    """Structural relations of one scale: graph attention with `heads` heads, their mean (MGRN).

    h = x W_in + b_in; a head: g = h W, e_ij = (a_1 g_i + b_1) + (a_2 g_j + b_2),
    alpha_i = softmax over i and its neighbours j of leaky_relu(e_ij, 0.2), feature elu(sum_j
    alpha_ij g_j + b).
    """

    def __init__(self, neighbourhood: np.ndarray, heads: int, hidden: int):
        super().__init__()
        order, groups = neighbour_groups(neighbourhood)
        self.register_buffer("order", torch.from_numpy(order), persistent=False)
        self.register_buffer("place", torch.from_numpy(np.argsort(order)), persistent=False)
        self.slices = [nodes for nodes, _ in groups]
        for number, (_, around) in enumerate(groups):
            self.register_buffer(f"around_{number}", torch.from_numpy(around), persistent=False)
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
            limit = (6 / (hidden + outputs)) ** 0.5
            kernel.uniform_(-limit, limit, generator=generator)

    @property
    def groups(self) -> list[tuple[slice, Tensor]]:
        """Nodes with equally many neighbours, as models.neighbour_attention takes them."""
        return [
            (nodes, getattr(self, f"around_{number}")) for number, nodes in enumerate(self.slices)
        ]

    def _positions(self, x: Tensor) -> Tensor:
        """Node positions (B, f, n, 3) in the groups' order, with a coordinate of ones: (4, n, B
        f).
        """
        x = x.flatten(0, 1).permute(2, 1, 0).index_select(1, self.order)
        return torch.cat([x, x.new_ones(1, *x.shape[1:])])

    def _maps(self) -> tuple[Tensor, Tensor]:
        """What positions (x, y, z, 1) are multiplied by: scores (2, heads, 4), features (heads,
        hidden, 4).
        """
        g = torch.cat([self.W_in, self.b_in[None]]) @ self.W  # (heads, 4, hidden)
        score = (g @ self.a[..., None]).squeeze(-1)  # (2, heads, 4)
        return score + pad(self.b_a[..., None], (3, 0)), g.mT + pad(self.b[..., None], (3, 0))

    def forward(self, x: Tensor) -> Tensor:
        """Node positions (B, f, n, 3) -> structural features (B, f, n, hidden)."""
        features = NeighbourAttention.apply(
            *self._maps(), self._positions(x), self.groups
        )  # (hidden, n, M)
        return features.permute(2, 1, 0).index_select(1, self.place).unflatten(0, x.shape[:2])

    def attention(self, x: Tensor) -> Tensor:
        """The structural relation matrices alpha (B, f, heads, n, n), 0 between nodes that are no
        neighbours.
        """
        _, alphas = relations(self._maps()[0], self._positions(x), self.groups)
        n = x.shape[2]
        dense = x.new_zeros(n, n, alphas[0].shape[0], alphas[0].shape[3])
        for (nodes, around), alpha in zip(self.groups, alphas, strict=True):
            dense[self.order[nodes], self.order[around]] = alpha.permute(1, 2, 0, 3)
        return dense.permute(3, 2, 0, 1).unflatten(0, x.shape[:2])


class ReconstructionHead(nn.Module):
    """Rebuilds the skeletons of one scale from the LSTM outputs of another: D_h -> D_h ReLU ->
    nodes * 3 (MSR).
    """

    def __init__(self, units: int, nodes: int):
        super().__init__()
        self.W_1, self.b_1 = (
            nn.Parameter(torch.zeros(units, units)),
            nn.Parameter(torch.zeros(units)),
        )
        self.W_2, self.b_2 = (
            nn.Parameter(torch.zeros(units, nodes * 3)),
            nn.Parameter(torch.zeros(nodes * 3)),
        )

    def forward(self, h: Tensor) -> Tensor:
        """h (N, B, D_h) -> (N, B, nodes * 3)."""
        embedding = torch.addmm(self.b_1, h.flatten(0, 1), self.W_1).relu()
        return torch.addmm(self.b_2, embedding, self.W_2).unflatten(0, h.shape[:2])


class SMSGE(nn.Module):
    """The encoder (MGRN and LSTMs) and its reconstruction heads.

    joints: J, 14, 20 or 25. D_h: units of every LSTM layer. scales: those in use, of I, J, P, B
    (ablation). heads, hidden: of the graph attention. n_hood: edges up to which joints are
    neighbours (joint scale); global_att: every two nodes are. fusion_lambda: weight of the
    collaborative relations, which struct_only leaves out (`--single_level` is a weight of 0). loss:
    l1 (mean absolute error), l2 (half the summed square) or MSE. pred_margin: rebuild the skeleton
    that many frames later. reverse: `graphs` turns the frames round. generator: source of the
    initial values; seed 0 unless given.

    Raises InputError for scales, a loss or a margin that do not exist, and for another number of
    joints.
    """

    def __init__(
        self,
        joints: int,
        D_h: int = 256,
        *,
        scales: str = SCALES,
        heads: int = 8,
        hidden: int = 8,
        n_hood: int = 1,
        global_att: bool = False,
        fusion_lambda: float = 1.0,
        struct_only: bool = False,
        loss: str = "l1",
        pred_margin: int = 0,
        reverse: bool = False,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if not scales or set(scales) - set(SCALES) or len(set(scales)) < len(scales):
            raise InputError(
                f"unknown scales {scales!r}; choose some of the letters {', '.join(SCALES)}"
            )
        if loss not in LOSSES:
            raise InputError(f"unknown loss {loss!r}; choose one of {', '.join(LOSSES)}")
        if pred_margin < 0:
            raise InputError(f"pred_margin: expected 0 frames or more, found {pred_margin}")
        self._arguments = {
            "joints": joints,
            "D_h": D_h,
            "scales": scales,
            "heads": heads,
            "hidden": hidden,
        }
        self._arguments |= {"n_hood": n_hood, "global_att": global_att, "struct_only": struct_only}
        self._arguments |= {"loss": loss, "pred_margin": pred_margin, "reverse": reverse}
        self.scales = [scale for scale in SCALES if scale in scales]  # fine to coarse
        self.joints, self.D_h, self.loss, self.pred_margin = joints, D_h, loss, pred_margin
        self.fusion_lambda, self.struct_only, self.reverse = fusion_lambda, struct_only, reverse
        biases = {scale: attention_bias(scale, joints, n_hood, global_att) for scale in self.scales}
        self.nodes_of = {scale: len(bias) for scale, bias in biases.items()}
        self.structure = nn.ModuleDict(
            {s: StructuralRelations(biases[s], heads, hidden) for s in self.scales}
        )
        pairs = [s + r for s in self.scales for r in self.coarser(s)]
        collaborating = [] if struct_only else pairs
        self.relation = nn.ParameterDict(
            {pair: torch.zeros(hidden, hidden) for pair in collaborating}
        )
        self.dynamics = PrefixLSTM([n * hidden for n in self.nodes_of.values()], D_h)
        self.head = nn.ModuleDict(
            {pair: ReconstructionHead(D_h, self.nodes_of[pair[1]]) for pair in pairs}
        )
        self.initialise(generator or torch.Generator().manual_seed(0))

    @torch.no_grad()
    def initialise(self, generator: torch.Generator) -> None:
        """Initial values as released: plain matrices N(0, 1), attention and LSTM kernels
        Glorot-uniform, biases 0.
        """
        for layer in (*self.structure.values(), self.dynamics):
            layer.initialise(generator)
        for matrix in self.relation.values():
            matrix.normal_(generator=generator)
        for head in self.head.values():
            head.W_1.normal_(generator=generator)
            head.W_2.normal_(generator=generator)

    @property
    def arguments(self) -> dict:
        """What the constructor needs to build this model again, for checkpoints; fusion_lambda as
        it is now.
        """
        return {**self._arguments, "fusion_lambda": self.fusion_lambda}

    def coarser(self, scale: str) -> list[str]:
        """The scale itself and those coarser than it: what it collaborates with, and what is
        rebuilt from it.
        """
        return self.scales[self.scales.index(scale) :]

    def graphs(self, skeletons: Tensor) -> dict[str, Tensor]:
        """The graphs of skeletons (B, f, J, 3) in the scales in use: what every method here is
        given.
        """
        graphs = all_scales(skeletons.flip(1) if self.reverse else skeletons)
        return {scale: graphs[scale] for scale in self.scales}

    def structural(self, graphs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Structural features H of every scale, (B, f, n, hidden) each. InputError for graphs of
        other shapes.
        """
        return {scale: self.structure[scale](x) for scale, x in self._checked(graphs).items()}

    def _checked(self, graphs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        for scale in self.scales:
            expected = f"(B, f, {self.nodes_of[scale]}, 3)"
            found = tuple(graphs[scale].shape) if scale in graphs else None
            if (
                found is None
                or len(found) != 4
                or found[2:] != (self.nodes_of[scale], 3)
                or found[1] < 1
            ):
                raise InputError(
                    f"SM-SGE expects scale {scale} as {expected}, found {found}; "
                    f"check the data set (joints) that the model was trained on"
                )
        return {scale: graphs[scale] for scale in self.scales}

    def collaborate(self, scale: str, H: Mapping[str, Tensor]) -> Tensor:
        """Fused features of a scale: H_s + lambda sum_r C_sr W_sr, (B, f, n, hidden), from
        structural features H.
        """
        if self.struct_only:
            return H[scale]
        read = [H[r].flatten(0, 1) for r in self.coarser(scale)]  # (B f, n_r, hidden)
        matrices = [self.relation[scale + r] for r in self.coarser(scale)]
        fused = Fusion.apply(self.fusion_lambda, H[scale].flatten(0, 1), *read, *matrices)
        return fused.view_as(H[scale])

    def nodes(self, graphs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Fused node features of every scale, (B, f, n, hidden) each."""
        H = self.structural(graphs)
        return {scale: self.collaborate(scale, H) for scale in self.scales}

    def encode(self, nodes: Mapping[str, Tensor], tree: PrefixTree | Steps) -> Tensor:
        """LSTM outputs (scales, N, B, D_h) at the nodes of a prefix tree, from the fused node
        features.
        """
        return self.dynamics([nodes[scale].flatten(2) for scale in self.scales], tree)

    def states(self, graphs: Mapping[str, Tensor], prefixes: int | None = None) -> Tensor:
        """The states I|J|P|B after k = 1 ... f frames, (B, f, 4 D_h), in one pass over the
        sequence.

        prefixes: f + 1 adds the released code's extra one, a step with an all-zero input (B, f + 1,
        4 D_h). Raises InputError for another number.
        """
        nodes = self.nodes(graphs)
        f = nodes[self.scales[0]].shape[1]
        prefixes = f if prefixes is None else prefixes
        if prefixes not in (f, f + 1):
            raise InputError(
                f"expected {f} or {f + 1} prefixes of a sequence of {f} frames, found {prefixes}"
            )
        if prefixes > f:
            nodes = {scale: pad(x, (0, 0, 0, 0, 0, 1)) for scale, x in nodes.items()}
        h = self.encode(nodes, prefix_tree([range(prefixes)]))  # (scales, prefixes, B, D_h)
        return h.permute(2, 1, 0, 3).flatten(2)

    def forward(self, graphs: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor] | Tensor]:
        """Every named intermediate, for pictures and comparisons; `states` and `losses` are faster.

        structural, nodes: by scale, (B, f, n, hidden), before and after the collaborative
        relations. attention: by scale, structural relations (B, f, heads, n, n). relations,
        collaborated: by pair of scales, A_sr (B, f, n_s, n_r) and C_sr = A_sr H_r (B, f, n_s,
        hidden). states: (B, f, 4 D_h).
        """
        H = self.structural(graphs)
        A = {pair: relation(H[pair[0]], H[pair[1]]) for pair in self.relation}
        return {
            "structural": H,
            "attention": {
                scale: self.structure[scale].attention(graphs[scale]) for scale in self.scales
            },
            "relations": A,
            "collaborated": {pair: each @ H[pair[1]] for pair, each in A.items()},
            "nodes": {scale: self.collaborate(scale, H) for scale in self.scales},
            "states": self.states(graphs),
        }

    def reconstruct(self, graphs: Mapping[str, Tensor], frames: Sequence[int]) -> dict[str, Tensor]:
        """The skeletons rebuilt while reading some frames, by pair of scales: (B, k, nodes, 3)."""
        h = self.encode(self.nodes(graphs), prefix_tree([frames]))
        rebuilt = {pair: head(h[self.scales.index(pair[0])]) for pair, head in self.head.items()}
        return {pair: each.transpose(0, 1).unflatten(2, (-1, 3)) for pair, each in rebuilt.items()}

    def losses(
        self, graphs: Mapping[str, Tensor], subsets: Sequence[Sequence[int]]
    ) -> dict[str, Tensor]:
        """The loss of each source scale: summed over the rebuilt scales, averaged over the frame
        subsets.

        subsets: frame numbers in the order of reading, as draw_subsets gives them. Raises
        InputError for frames that the sequences, or with pred_margin their targets, do not have.
        """
        H = self.structural(graphs)
        terms = self.loss_terms(
            dict.fromkeys(self.scales, H), graphs, self.reading(graphs, subsets)
        )
        return {scale: sum(each.values()).mean() for scale, each in terms.items()}

    def reading(
        self, graphs: Mapping[str, Tensor], subsets: Sequence[Sequence[int]], shared: bool = True
    ) -> Reading:
        """The frame subsets where the graphs are. shared: common beginnings run once
        (models.prefix_lstm).

        Raises InputError as `losses` does.
        """
        tree, x = prefix_tree(subsets, shared), graphs[self.scales[0]]
        if min(tree.frames) < 0 or max(tree.frames) + self.pred_margin >= x.shape[1]:
            raise InputError(
                f"frame subsets reach from {min(tree.frames)} to {max(tree.frames)} (+ {self.pred_margin} frames "
                f"predicted ahead), but the sequences have frames 0 to {x.shape[1] - 1}"
            )
        return Reading(place(tree, x.device), self._weights(tree).to(x))

    def loss_terms(
        self, H: Mapping[str, Mapping[str, Tensor]], graphs: Mapping[str, Tensor], reading: Reading
    ) -> dict[str, dict[str, Tensor]]:
        """The loss of each source and target scale on each subset, dict source -> target -> (M,).

        H: for each source scale the structural features to start from (reid.joint_step gives each
        its own copy).
        """
        steps, weights = reading
        h = self.encode({scale: self.collaborate(scale, H[scale]) for scale in self.scales}, steps)
        seen = steps.frames + self.pred_margin
        frames_first = {scale: graphs[scale].flatten(2).transpose(0, 1) for scale in self.scales}
        skeletons = {scale: x[seen] for scale, x in frames_first.items()}  # (N, B, n * 3)
        terms: dict[str, dict[str, Tensor]] = {}
        for states, source in zip(h, self.scales, strict=True):
            terms[source] = {}
            for target in self.coarser(source):
                error = self.head[source + target](states) - skeletons[target]
                error = error.abs() if self.loss == "l1" else error.square()
                error = (
                    error.sum(dim=(1, 2)) / 2 if self.loss == "l2" else error.mean(dim=(1, 2))
                )  # (N,)
                terms[source][target] = weights @ error
        return terms

    def _weights(self, tree: PrefixTree) -> Tensor:
        """What each node counts in each subset's loss (M, N): l1, MSE average over the subset's
        frames, l2 sums.
        """
        weights = torch.zeros(len(tree.paths), len(tree.frames))
        for row, path in zip(weights, tree.paths, strict=True):
            row[path] = 1.0 if self.loss == "l2" else 1 / len(path)
        return weights

    @classmethod
    def from_published(cls, variables: Mapping[str, np.ndarray], **options) -> "SMSGE":
        """The model with published TensorFlow weights; sizes are taken from the arrays.

        variables: arrays by the checkpoint's names without ":0"; optimiser slots, the recognition
        network and the
            released code's unused matrix (Variable_11) are not read.
        options: n_hood, global_att, fusion_lambda, struct_only, loss, pred_margin, which no array
        tells.

        Raises InputError where a variable is missing or has another size than the rest asks for.
        """
        biases = [
            name
            for name in variables
            if name.startswith("Multi_Scale/BiasAdd") and name.endswith("/biases")
        ]
        D_h, width = pick(variables, "MSR/MSR/J_pred/J_pred/Variable_2").shape
        hidden = pick(variables, "Multi_Scale/Multi_Scale/Variable").shape[1]
        model = cls(
            width // 3, D_h, heads=max(1, len(biases) // len(SCALES)), hidden=hidden, **options
        )
        for name, parts in model._published():
            array = tensor(pick(variables, name)).flatten()
            sizes = [part.numel() for part in parts]
            if len(array) != sum(sizes):
                raise InputError(
                    f"published variable {name!r}: expected {sum(sizes)} numbers, found {len(array)}"
                )
            for part, values in zip(parts, array.split(sizes), strict=True):
                part.data.copy_(values.view_as(part))
        return model

    def _published(self) -> Iterator[tuple[str, list[Tensor]]]:
        """Each published variable and the parts of this model's parameters that it fills, one below
        the other.
        """
        for order, scale in enumerate("JPBI"):
            layer, heads = self.structure[scale], len(self.structure[scale].b)
            yield _numbered("Multi_Scale/Multi_Scale/Variable", 2 * order), [layer.W_in]
            yield _numbered("Multi_Scale/Multi_Scale/Variable", 2 * order + 1), [layer.b_in]
            for head in range(heads):
                count = order * heads + head
                yield _numbered("Multi_Scale/conv1d", 3 * count) + "/kernel", [layer.W[head]]
                for which in (0, 1):
                    score = _numbered("Multi_Scale/conv1d", 3 * count + 1 + which)
                    yield f"{score}/kernel", [layer.a[which, head]]
                    yield f"{score}/bias", [layer.b_a[which, head]]
                yield _numbered("Multi_Scale/BiasAdd", count) + "/biases", [layer.b[head]]
        for number, pair in enumerate(PUBLISHED_RELATIONS, 8):
            if pair in self.relation:
                yield f"Multi_Scale/Multi_Scale/Variable_{number}", [self.relation[pair]]
        lstm = self.dynamics
        for s, scale in enumerate(self.scales):
            cell = f"MSR/{scale}_pred/rnn/multi_rnn_cell/cell_"
            for layer, into in enumerate((lstm.into_first[s], lstm.into_second[s])):
                yield f"{cell}{layer}/lstm_cell/kernel", [into, lstm.recurrent[layer][s]]
                yield f"{cell}{layer}/lstm_cell/bias", [lstm.bias[layer][s]]
            targets = "JPBI" if scale == "I" else self.coarser(scale)
            for number, parameter in enumerate(
                p for t in targets for p in self.head[scale + t].parameters()
            ):
                yield _numbered(f"MSR/MSR/{scale}_pred/{scale}_pred/Variable", number), [parameter]


def _numbered(name: str, number: int) -> str:
    """TensorFlow's names of equals: x, x_1, x_2."""
    return f"{name}_{number}" if number else name
