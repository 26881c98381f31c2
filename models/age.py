"""AGE: Self-Supervised Gait Encoding with Locality-Aware Attention for Person Re-Identification.

Rao, Wang, Hu, Tan, Da, Cheng, Hu. IJCAI 2020. https://www.ijcai.org/proceedings/2020/125
(https://arxiv.org/abs/2008.09435; TensorFlow code: https://github.com/Kali-Hac/SGE-LA)

An LSTM encoder-decoder rebuilds a skeleton sequence in reverse order. The decoder attends to the
encoded gait states, and a locality mask pulls its attention towards the frames next to the one
being rebuilt. The context vectors are the gait feature (attention-based gait encodings, AGEs).

The axes x, y, z have a model each and share nothing. They are alike, so they run here as one
batched computation (models/axes.py): weights and activations have a leading axis of 3, and the
numbers are those of three separate models (tests/test_age.py).

Shapes: B sequences, f frames, J joints, H units. Symbols as in the paper's Fig. 2.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import InputError
from models.attention_decoder import AttentionDecoder
from models.axes import AxisLinear, AxisLSTMCell
from models.published import pick, tensor

AXES = ("x", "y", "z")
L2_WEIGHT = 0.02  # lambda_l2 of the released code
CLIP = 5.0  # gradients, by value

# Parameter here -> variable of the published checkpoints, without the axis. Kernels are our weights
# transposed.
PUBLISHED = {
    "encoder.cells.0.weight": "rnn/multi_rnn_cell/cell_0/lstm_cell/kernel",
    "encoder.cells.0.bias": "rnn/multi_rnn_cell/cell_0/lstm_cell/bias",
    "encoder.cells.1.weight": "rnn/multi_rnn_cell/cell_1/lstm_cell/kernel",
    "encoder.cells.1.bias": "rnn/multi_rnn_cell/cell_1/lstm_cell/bias",
    "decoder.memory.weight": "memory_layer/kernel",
    "decoder.cells.0.weight": "decode/decoder/Attention_Wrapper/multi_rnn_cell/cell_0/lstm_cell/kernel",
    "decoder.cells.0.bias": "decode/decoder/Attention_Wrapper/multi_rnn_cell/cell_0/lstm_cell/bias",
    "decoder.cells.1.weight": "decode/decoder/Attention_Wrapper/multi_rnn_cell/cell_1/lstm_cell/kernel",
    "decoder.cells.1.bias": "decode/decoder/Attention_Wrapper/multi_rnn_cell/cell_1/lstm_cell/bias",
    "decoder.attention.weight": "decode/decoder/Attention_Wrapper/attention_layer/kernel",
    "decoder.output.weight": "decode/decoder/dense/kernel",
    "decoder.output.bias": "decode/decoder/dense/bias",
}
# The two variables that the released code never uses, and the parameters that they start as copies
# of.
COPIES = {
    "lstm_weights_layer_1": "encoder.cells.0.weight",
    "lstm_weights_layer_2": "encoder.cells.1.bias",
}


class GaitEncoder(nn.Module):
    """Gait encoder: two LSTM layers turn a sequence into encoded gait states h_1 ... h_f."""

    def __init__(self, joints: int, hidden: int):
        super().__init__()
        self.cells = nn.ModuleList([AxisLSTMCell(joints, hidden), AxisLSTMCell(hidden, hidden)])

    def forward(self, x: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """x (3, f, B, J) -> states h (3, f, B, H) and the final (h, c) of each layer, (3, B, H)
        each.
        """
        final = []
        for cell in self.cells:
            x, c = cell.sequence(x)
            final.append((x[:, -1], c))
        return x, final


class GaitDecoder(nn.Module):
    """Gait decoder with basic attention (Luong's general score). The locality mask enters only the
    loss.
    """

    def __init__(self, joints: int, hidden: int):
        super().__init__()
        self.joints = joints
        self.cells = nn.ModuleList(
            [AxisLSTMCell(joints + hidden, hidden), AxisLSTMCell(hidden, hidden)]
        )
        self.memory = AxisLinear(hidden, hidden)  # M
        self.attention = AxisLinear(2 * hidden, hidden)  # f_att
        self.output = AxisLinear(hidden, joints, bias=True)  # f_F

    def forward(
        self, h: Tensor, state: list[tuple[Tensor, Tensor]], inputs: Tensor | None
    ) -> dict[str, Tensor]:
        """Decode f steps from the encoder's final state.

        h: encoded gait states (3, f, B, H). state: (h, c) of each layer, (3, B, H) each.
        inputs: what the decoder is given at each step (3, f, B, J), None for zeros.
        Returns decoder_outputs, contexts, attention_vectors (3, f, B, H), alignment (3, f, B, f)
        and reconstruction (3, f, B, J); the second axis counts decoder steps.
        """
        f, B, H = h.shape[1:]
        keys = self.memory(h.flatten(1, 2)).unflatten(1, (f, B))  # k_i = M h_i, once a sequence
        (h_0, c_0), (h_1, c_1) = state
        layers = [part for cell in self.cells for part in (cell.weight, cell.bias_in_use())]
        alignment, joined, a = AttentionDecoder.apply(
            h.transpose(1, 2),
            keys.transpose(1, 2),
            h_0,
            c_0,
            h_1,
            c_1,
            inputs,
            *layers,
            self.attention.weight,
        )
        return {
            "decoder_outputs": joined[..., :H],
            "contexts": joined[..., H:],
            "alignment": alignment,
            "attention_vectors": a,
            "reconstruction": self.output(a.flatten(1, 2)).unflatten(1, (f, B)),
        }


class AGE(nn.Module):
    """The encoder-decoders of the three axes, trained apart and run together.

    joints: J.
    hidden: units H of every LSTM layer and of the attention (256 in the paper).
    decoder_input: "zeros" (the released code: every decoder input is zero) or "previous" (the
    paper's text: the
        target frame before the one to rebuild; a zero frame at the first step).
    target: "reverse" (the sequence from its last frame to its first) or "same" (in its own order).
    count_copies: hold the two unused variables of the released code, which enter only the L2 term.
    generator: source of the initial values (LSTMs uniform in +-0.1, memory and attention layer
    Glorot uniform,
        output layer normal 0.1 truncated at two deviations, biases 0); one seeded with 0 unless
        given.

    Raises InputError for an unknown decoder_input or target.
    """

    def __init__(
        self,
        joints: int,
        hidden: int = 256,
        decoder_input: str = "zeros",
        target: str = "reverse",
        count_copies: bool = False,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if decoder_input not in ("zeros", "previous"):
            raise InputError(f"unknown decoder input {decoder_input!r}; choose zeros or previous")
        if target not in ("reverse", "same"):
            raise InputError(f"unknown target {target!r}; choose reverse or same")
        self.arguments = {
            "joints": joints,
            "hidden": hidden,
            "decoder_input": decoder_input,
            "target": target,
            "count_copies": count_copies,
        }
        self.joints, self.decoder_input, self.target = joints, decoder_input, target
        self.encoder = GaitEncoder(joints, hidden)
        self.decoder = GaitDecoder(joints, hidden)
        self.reset(generator or torch.Generator().manual_seed(0))
        self.copies = nn.ParameterDict()
        if count_copies:
            for name, source in COPIES.items():
                self.copies[name] = self.get_parameter(source).detach().clone()

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Draw the initial weights as the released code does; biases 0."""
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
        for cell in [*self.encoder.cells, *self.decoder.cells]:
            cell.weight.uniform_(-0.1, 0.1, generator=generator)
        for layer in (self.decoder.memory, self.decoder.attention):
            limit = (6 / sum(layer.weight.shape[1:])) ** 0.5
            layer.weight.uniform_(-limit, limit, generator=generator)
        nn.init.trunc_normal_(
            self.decoder.output.weight, std=0.1, a=-0.2, b=0.2, generator=generator
        )

    @classmethod
    def from_published(cls, variables: Mapping[str, np.ndarray], **options) -> "AGE":
        """The model with published TensorFlow weights; sizes are taken from the arrays.

        variables: arrays by name: `x/`, `y/` or `z/` and the checkpoint's name without ":0". The
        two unused
            copies `lstm_weights_layer_1`, `_2` may be missing; they are read only with
            count_copies.
        options: decoder_input, target, count_copies, as above. With count_copies=True the l2 and
        total losses are
            the ones that the released code prints; without, every variable in use counts once.

        Raises InputError where a variable is missing or has another shape than the rest asks for.
        """
        hidden, joints = pick(variables, f"x/{PUBLISHED['decoder.output.weight']}").shape
        model = cls(joints, hidden, **options)
        names = dict(PUBLISHED)
        for copy, source in COPIES.items():
            if copy in model.copies:
                names[f"copies.{copy}"] = copy if f"x/{copy}" in variables else PUBLISHED[source]
        for parameter, name in names.items():
            into = model.get_parameter(parameter).data
            shape = into.shape[:0:-1]  # of the transposed matrix of one axis
            stored = torch.stack(
                [tensor(pick(variables, f"{axis}/{name}", shape)) for axis in AXES]
            )
            into.copy_(stored.mT if into.dim() == 3 else stored)
        return model

    def targets(self, skeletons: Tensor) -> Tensor:
        """What the decoder rebuilds step by step: (B, f, J, 3) -> (3, f, B, J)."""
        frames = skeletons.permute(3, 1, 0, 2)
        return frames.flip(1) if self.target == "reverse" else frames

    def encode(self, skeletons: Tensor) -> dict[str, Tensor]:
        """Encode and rebuild skeletons (B, f, J, 3), in the data's own unit and origin.

        Returns
            alignment (3, B, f, f): by axis, sequence, decoder step, frame; rows sum to 1;
            reconstruction (3, B, f, J): by decoder step;
            encodings (B, f, 3H): the AGEs, x|y|z; row t is decoder step t (of frame f-1-t for a
            reverse target); and what they are made of: encoder_outputs, decoder_outputs,
            attention_vectors (3, B, f, H), and the encoder's final states encoder_h, encoder_c (3,
            B, 2, H), one for each layer.

        Raises InputError where the skeletons are not (B, f, J, 3) with the J of this model.
        """
        if (
            skeletons.dim() != 4
            or skeletons.shape[1] < 1
            or skeletons.shape[2:] != (self.joints, 3)
        ):
            raise InputError(
                f"AGE expects skeletons of shape (B, f, {self.joints}, 3), found {tuple(skeletons.shape)}"
            )
        h, state = self.encoder(skeletons.permute(3, 1, 0, 2))  # (3, f, B, H)
        inputs = None
        if self.decoder_input == "previous":
            inputs = nn.functional.pad(
                self.targets(skeletons)[:, :-1], (0, 0, 0, 0, 1, 0)
            )  # (3, f, B, J)
        out = self.decoder(h, state, inputs)
        contexts = out.pop("contexts")
        out = {name: value.transpose(1, 2) for name, value in {**out, "encoder_outputs": h}.items()}
        out["encoder_h"], out["encoder_c"] = (
            torch.stack(part, dim=2) for part in zip(*state, strict=True)
        )
        out["encodings"] = contexts.permute(2, 1, 0, 3).flatten(2)  # v_t = [c_t^x, c_t^y, c_t^z]
        return out

    def data_losses(self, skeletons: Tensor, locality: bool = True) -> dict[str, Tensor]:
        """The losses reconstruction and locality of each axis, (3,) each: sums over the batch.

        Without locality (basic attention) that term is 0.
        """
        out = self.encode(skeletons)
        error = out["reconstruction"] - self.targets(skeletons).transpose(1, 2)
        reconstruction = 0.5 * error.square().sum(dim=(1, 2, 3))  # L_rec
        local = torch.zeros_like(reconstruction)
        if locality:
            a = out["alignment"]
            mask = locality_mask(a.shape[2], self.target, a.device)
            objective = a * mask.to(a.dtype)  # not a constant: gradients pass
            local = 0.5 * (a - objective).square().sum(dim=(1, 2, 3))  # L_A
        return {"reconstruction": reconstruction, "locality": local}

    def losses(self, skeletons: Tensor, locality: bool = True) -> dict[str, Tensor]:
        """The losses of each axis: reconstruction, locality, l2 and their sum total, (3,) each.

        The first two are sums over the batch, so the batch size weighs them against the L2 term. An
        axis' weights get gradients from its own total only.
        """
        losses = self.data_losses(skeletons, locality)
        # Of every trainable variable, biases included.
        l2 = L2_WEIGHT * 0.5 * sum(p.square().flatten(1).sum(1) for p in self.parameters())
        return {**losses, "l2": l2, "total": losses["reconstruction"] + losses["locality"] + l2}

    def backward(
        self, skeletons: Tensor, locality: bool = True, clip: float = CLIP
    ) -> dict[str, Tensor]:
        """Set the gradients to those of the sum of the three totals, clipped by value. Returns
        data_losses, detached.

        The L2 term's gradient is L2_WEIGHT w: it is added here, which spares the passes over all
        weights that differentiating the term would take.
        """
        for parameter in self.parameters():
            parameter.grad = None
        losses = self.data_losses(skeletons, locality)
        sum(losses.values()).sum().backward()
        with torch.no_grad():
            for parameter in self.parameters():
                if parameter.grad is None:  # the unused copies
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad.add_(parameter, alpha=L2_WEIGHT).clamp_(-clip, clip)
        return {name: loss.detach() for name, loss in losses.items()}


def locality_mask(
    frames: int, target: str = "reverse", device: torch.device | None = None
) -> Tensor:
    """The locality mask l_t(k), (f, f) float64: a Gaussian of deviation f/2 around the frame that
    step t rebuilds.

    Made on the device, because a step that copied it there would wait for the copy.
    """
    steps = torch.arange(frames, dtype=torch.float64, device=device)
    centre = frames - 1 - steps if target == "reverse" else steps
    return torch.exp(-((steps - centre[:, None]) ** 2) / (2 * (frames / 2) ** 2))


def encoder_states(out: Mapping[str, Tensor], target: str) -> Tensor:
    """The encoded gait states h as frame features, of what AGE.encode returned: (B, f, 3H), x|y|z.

    Row t is of the frame that decoder step t rebuilds, as is row t of the encodings.
    """
    h = out["encoder_outputs"].permute(1, 2, 0, 3).flatten(2)
    return h.flip(1) if target == "reverse" else h


def concatenated(encodings: Tensor) -> Tensor:
    """The feature of a sequence for `--manner sc`: (B, f, 3H) -> (B, 3fH), x of all rows, then y,
    then z.
    """
    return encodings.unflatten(2, (3, -1)).transpose(1, 2).flatten(1)


def stops(losses: Sequence[float]) -> bool:
    """Whether the released code stops training an axis after these validation losses, the oldest
    first.

    Once three successive losses have agreed to 5 decimals, it stops at the first later one that is
    not below the largest of the three before it. Its memory of three starts with zeros.
    """
    history = np.array([0.0, 0.0, 0.0, *losses])
    earlier = np.round(history[1:-1], 5)
    level = (earlier[:-2] == earlier[1:-1]) & (earlier[1:-1] == earlier[2:])
    return len(losses) > 0 and bool(level.any()) and bool(history[-1] >= history[-4:-1].max())
