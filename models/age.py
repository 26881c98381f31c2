"""AGE: Self-Supervised Gait Encoding with Locality-Aware Attention for Person Re-Identification.

Rao, Wang, Hu, Tan, Da, Cheng, Hu. IJCAI 2020. https://www.ijcai.org/proceedings/2020/125
(https://arxiv.org/abs/2008.09435; TensorFlow code: https://github.com/Kali-Hac/SGE-LA)

An LSTM encoder-decoder rebuilds a skeleton sequence in reverse order. The decoder attends to the
encoded gait states, and a locality mask pulls its attention towards the frames next to the one
being rebuilt. The context vectors are the gait feature (attention-based gait encodings, AGEs).
Each axis has a model of its own; the three run side by side, on a leading axis of the weights.
Symbols as in Fig. 2; B sequences, f frames, J joints, H units.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from skeleton_reid.common.errors import InputError
from skeleton_reid.models.embedding import EmbeddingModel
from skeleton_reid.models.prefix_lstm import lstm_cell
from skeleton_reid.tensorflow_v1 import published
from skeleton_reid.tensorflow_v1.published import COPIES

AXES = ("x", "y", "z")
# Of decoder_input, target, attention.
CHOICES = ("zeros", "previous"), ("reverse", "same"), ("LA", "BA", "MBA", "none")
L2_WEIGHT = 0.02  # lambda_l2 of the released code
CLIP = 5.0  # gradients, by value
BATCH = 512  # sequences whose alignment is averaged at a time; bounds memory

State = tuple[Tensor, Tensor]  # h and c of an LSTM layer, (3, B, H) each


class Linear(nn.Module):
    """A linear map for each axis, (3, ..., inputs) -> (3, ..., outputs)."""
    def __init__(self, inputs: int, outputs: int, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(3, outputs)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        rows, weight = x.flatten(1, -2), self.weight.transpose(1, 2)
        if self.bias is None:
            out = torch.bmm(rows, weight)
        else:
            out = torch.baddbmm(self.bias[:, None], rows, weight)
        return out.view(3, -1, *x.shape[2:-1], out.shape[2])


class LSTM(nn.Module):
    """Two LSTM layers. A layer is one linear map of its input and h to TensorFlow's gates."""
    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        self.hidden = hidden
        self.cells = nn.ModuleList(Linear(n + hidden, 4 * hidden) for n in (inputs, hidden))

    def step(self, x: Sequence[Tensor], states: list[State]) -> list[State]:
        """One frame, the parts of x (3, B, .): the new state of each layer, of which the second's h
        is the output.
        """
        new = []
        for cell, (h, c) in zip(self.cells, states, strict=True):
            h, c = lstm_cell(cell(torch.cat([*x, h], dim=2)), c)
            new.append((h, c))
            x = [h]
        return new

    def forward(self, x: Tensor, states: list[State] | None = None) -> tuple[Tensor, list[State]]:
        """A sequence x (3, B, f, D): the outputs (3, B, f, H) and the final state of each layer.
        states: those before, by default zeros.
        """
        final = []
        for cell, (h, c) in zip(self.cells, states or [(None, None)] * 2, strict=True):
            W_x, W_h = cell.weight.transpose(1, 2).split([x.shape[3], self.hidden], dim=1)
            gates = torch.baddbmm(cell.bias[:, None], x.flatten(1, 2), W_x)  # of all frames at once
            outputs = []
            for gates_t in gates.view(3, -1, x.shape[2], gates.shape[2]).unbind(2):
                h, c = lstm_cell(gates_t if h is None else torch.baddbmm(gates_t, h, W_h), c)
                outputs.append(h)
            x = torch.stack(outputs, dim=2)
            final.append((h, c))
        return x, final


class Decoder(LSTM):
    """Rebuilds J joints, with Luong's attention (general score) or without."""
    def __init__(self, joints: int, hidden: int, attends: bool):
        super().__init__(joints + hidden if attends else joints, hidden)
        self.attends = attends
        if attends:
            self.memory = Linear(hidden, hidden, bias=False)  # M
            self.attention = Linear(2 * hidden, hidden, bias=False)  # f_att
        self.output = Linear(hidden, joints)  # f_F

    def rebuild(self, inputs: Tensor, h: Tensor, states: list[State],
                mask: Tensor | None) -> dict[str, Tensor]:
        """What AGE.encode says of the decoder. inputs: (3, B, f, J). h: the encoded gait states,
        (3, B, f, H). states: the encoder's last ones. mask: (f, f).
        """
        if not self.attends:
            s, _ = self(inputs, states)
            return {"decoder_outputs": s, "reconstruction": self.output(s)}
        keys = self.memory(h)  # k_i = M h_i, once a sequence
        a = torch.zeros_like(h[:, :, 0])  # a_0 = 0
        steps = []
        for t, x_t in enumerate(inputs.unbind(2)):
            states = self.step([x_t, a], states)
            s = states[1][0]
            alignment = (keys @ s[..., None]).squeeze(3).softmax(dim=2)  # A[t, i], (3, B, f)
            if mask is not None:
                # Normalised again, so that rows sum to 1; the paper does not say whether to.
                alignment = alignment * mask[t] / (alignment * mask[t]).sum(dim=2, keepdim=True)
            context = (alignment[:, :, None] @ h).squeeze(2)  # c_t = sum_i A[t, i] h_i
            a = self.attention(torch.cat([s, context], dim=2))
            steps.append((s, alignment, context, a))
        s, A, c, a = (torch.stack(part, dim=2) for part in zip(*steps, strict=True))
        out = {"decoder_outputs": s, "alignment": A, "contexts": c, "attention_vectors": a}
        return out | {"reconstruction": self.output(a)}


class AGE(EmbeddingModel):
    """The encoder-decoders of the three axes, trained apart.

    decoder_input: zeros (as released) or previous (the paper's text: the target frame before the
    one to rebuild, zeros at first). target: reverse (rebuild the last frame first) or same.
    count_copies: hold the two unused variables of the released code, which enter only the L2 term.
    attention: LA (locality-aware), BA (basic), MBA (multiplied by the locality mask) or none.
    generator: source of the initial values; seed 0 by default. InputError for an unknown choice.
    """
    def __init__(self, joints: int, hidden: int = 256, decoder_input: str = "zeros",
                 target: str = "reverse", count_copies: bool = False, attention: str = "LA",
                 generator: torch.Generator | None = None):
        super().__init__()
        for value, choices in zip((decoder_input, target, attention), CHOICES, strict=True):
            if value not in choices:
                raise InputError(f"AGE: found option {value!r}; choose {' or '.join(choices)}")
        self.arguments = {"joints": joints, "hidden": hidden, "decoder_input": decoder_input}
        self.arguments |= {"target": target, "count_copies": count_copies, "attention": attention}
        self.decoder_input, self.target, self.attention = decoder_input, target, attention
        self.encoder = LSTM(joints, hidden)
        self.decoder = Decoder(joints, hidden, attends=attention != "none")
        self.copies = nn.ParameterDict()
        generator = generator or torch.Generator().manual_seed(0)
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif name == "decoder.output.weight":  # as released: normal, cut at two deviations
                nn.init.trunc_normal_(weight, std=0.1, a=-0.2, b=0.2, generator=generator)
            else:  # uniform; memory and attention layer as Glorot
                limit = 0.1 if ".cells." in name else (6 / sum(weight.shape[1:]))**0.5
                nn.init.uniform_(weight, -limit, limit, generator=generator)
        for name, source in COPIES.items() if count_copies else ():
            self.copies[name] = self.get_parameter(source).detach().clone()

    @classmethod
    def from_published(cls, variables: Mapping[str, np.ndarray], **options) -> "AGE":
        """The model with published weights, sizes taken from the arrays, or InputError.

        variables: arrays by `x/`, `y/` or `z/` and the checkpoint's names without ":0", but for the
        unused copies. With count_copies the losses are those of the released code.
        """
        return published.age(cls, variables, **options)

    def embed(self, skeletons: Tensor) -> Tensor:
        """The encodings (B, f, 3H)."""
        return self.encode(skeletons)["encodings"]

    def recogniser_rows(self, skeletons: Tensor, settings: Any) -> Tensor:
        """What is recognised, (B, R, d): each frame's encoding, or encoder state with `feature`
        "states", is a row (`manner` "ap"), or all of them make one ("sc").
        """
        out = self.encode(skeletons)
        states = settings.feature == "states"
        frames = encoder_states(out, self.target) if states else out["encodings"]
        return concatenated(frames)[:, None] if settings.manner == "sc" else frames

    def encode(self, skeletons: Tensor) -> dict[str, Tensor]:
        """Encode and rebuild skeletons (B, f, J, 3), in the data's own unit and origin.

        Returns encodings (B, f, 3H), the AGEs, x|y|z, by decoder step (attention none: the
        encoder_states); reconstruction (3, B, f, J); encoder_outputs, decoder_outputs (3, B, f, H);
        with attention also alignment (3, B, f, f), by step and frame, and contexts,
        attention_vectors (3, B, f, H).
        """
        inputs = torch.zeros_like(skeletons)
        if self.decoder_input == "previous":
            inputs[:, 1:] = self.targets(skeletons)[:, :-1]
        mask = None
        if self.attention == "MBA":
            f = skeletons.shape[1]
            mask = locality_mask(f, self.target, skeletons.device).to(skeletons.dtype)
        x, inputs = (each.permute(3, 0, 1, 2) for each in (skeletons, inputs))  # (3, B, f, J)
        h, states = self.encoder(x)  # encoded gait states h_1 ... h_f, (3, B, f, H)
        out = {"encoder_outputs": h} | self.decoder.rebuild(inputs, h, states, mask)
        if self.attention == "none":
            return out | {"encodings": encoder_states(out, self.target)}
        # v_t = [c_t^x, c_t^y, c_t^z]
        return out | {"encodings": out["contexts"].permute(1, 2, 0, 3).flatten(2)}

    def targets(self, skeletons: Tensor) -> Tensor:
        """The frames of skeletons (B, f, J, 3) in the order in which they are rebuilt."""
        return skeletons.flip(1) if self.target == "reverse" else skeletons

    def losses(self, skeletons: Tensor, locality: bool | None = None,
               batch: int | None = None) -> dict[str, Tensor]:
        """The losses of each axis: reconstruction, locality, l2 and their sum total, (3,) each.

        The first two are summed over the batch. locality: whether it counts; by default with LA.
        batch: sequences in all, if these are a part of them, whose sums then stand for the whole.
        """
        terms = self.terms(self.encode(skeletons), self.targets(skeletons), locality, batch)
        return terms | {"total": sum(terms.values())}

    def terms(self, out: Mapping[str, Tensor], targets: Tensor, locality: bool | None = None,
              batch: int | None = None) -> dict[str, Tensor]:
        """The terms of `losses` from encode's output and what was to be rebuilt, (B, f, J, 3)."""
        half = 0.5 * (batch or len(targets)) / len(targets)
        error = out["reconstruction"] - targets.permute(3, 0, 1, 2)
        reconstruction = half * error.square().sum(dim=(1, 2, 3))  # L_rec
        local = torch.zeros_like(reconstruction)
        if self.attention == "LA" if locality is None else locality:
            A = out["alignment"]
            mask = locality_mask(A.shape[2], self.target, A.device).to(A.dtype)
            # L_A; the target A * mask is not a constant: gradients pass.
            local = half * (A - A * mask).square().sum(dim=(1, 2, 3))
        weights = torch.cat([p.flatten(1) for p in self.parameters()], dim=1)  # biases included
        l2 = L2_WEIGHT * 0.5 * weights.square().sum(dim=1)
        return {"reconstruction": reconstruction, "locality": local, "l2": l2}


def locality_mask(f: int, target: str = "reverse", device: torch.device | None = None) -> Tensor:
    """l_t(k), (f, f) float64: a Gaussian of deviation f/2 around the frame that step t rebuilds."""
    steps = torch.arange(f, dtype=torch.float64, device=device)
    centre = f - 1 - steps if target == "reverse" else steps
    return torch.exp(-((steps - centre[:, None])**2) / (2 * (f / 2)**2))


@torch.no_grad()
def attention(model: AGE, skeletons: Tensor) -> tuple[Tensor, Tensor]:
    """Alignment of each axis averaged over skeletons (N, f, J, 3), (3, f, f), and its share within
    one frame of the one rebuilt, (3,).
    """
    device = next(model.parameters()).device
    sums = [model.encode(x.to(device))["alignment"].sum(dim=1) for x in skeletons.split(BATCH)]
    mean = torch.stack(sums).sum(dim=0).cpu() / len(skeletons)
    rebuilt = locality_mask(mean.shape[2], model.target).argmax(dim=1)
    near = (torch.arange(len(rebuilt)) - rebuilt[:, None]).abs() <= 1
    return mean, (mean * near).sum(dim=2).mean(dim=1)


def encoder_states(out: Mapping[str, Tensor], target: str) -> Tensor:
    """The encoder's states in AGE.encode's output: (B, f, 3H), x|y|z, in the target's order."""
    h = out["encoder_outputs"].permute(1, 2, 0, 3).flatten(2)
    return h.flip(1) if target == "reverse" else h


def concatenated(encodings: Tensor) -> Tensor:
    """The feature of a sequence for `--manner sc`: (B, f, 3H) -> (B, 3fH), all rows of x, y, z."""
    return encodings.unflatten(2, (3, -1)).transpose(1, 2).flatten(1)


def stops(losses: Sequence[float]) -> bool:
    """Whether the released code stops training an axis after these validation losses, oldest first.

    Once three successive losses have agreed to 5 decimals, it stops at the first later one that is
    not below the largest of the three before it. Its memory of three starts with zeros.
    """
    history = np.array([0.0, 0.0, 0.0, *losses])
    earlier = np.round(history[1:-1], 5)
    level = (earlier[:-2] == earlier[1:-1]) & (earlier[1:-1] == earlier[2:])
    return len(losses) > 0 and bool(level.any()) and bool(history[-1] >= history[-4:-1].max())
