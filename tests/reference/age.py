"""AGE the slow, obvious way: one axis at a time, one LSTM cell at a time, nothing batched over time
or axes.

Works on a dict of TensorFlow variables of one axis (name without the axis prefix -> tensor). The
tests' yardstick for models/age.py, and what benchmarks/age_step.py measures it against.
"""

import math

import torch

from skeleton_reid.models.age import AXES, COPIES
from skeleton_reid.tensorflow_v1.published import AGE, SGELA_HEAD

ENCODER = "rnn/multi_rnn_cell"
DECODER = "decode/decoder/Attention_Wrapper/multi_rnn_cell"


def lstm_cell(x, h, c, kernel, bias):
    """One step of TensorFlow's LSTM cell: x (B, D), h and c (B, H)."""
    i, j, f, o = (torch.cat([x, h], dim=1) @ kernel + bias).chunk(4, dim=1)
    c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(j)
    return torch.sigmoid(o) * torch.tanh(c), c


def two_layers(x, state, w, scope):
    """One step through both layers; state is [(h, c), (h, c)]."""
    new = []
    for layer, (h, c) in enumerate(state):
        name = f"{scope}/cell_{layer}/lstm_cell"
        x, c = lstm_cell(x, h, c, w[f"{name}/kernel"], w[f"{name}/bias"])
        new.append((x, c))
    return x, new


def encoder_states(w, x, H):
    """x (B, f, J) -> encoded gait states (B, f, H) and the final state."""
    state = [(x.new_zeros(len(x), H), x.new_zeros(len(x), H)) for _ in range(2)]
    outputs = []
    for t in range(x.shape[1]):
        h, state = two_layers(x[:, t], state, w, ENCODER)
        outputs.append(h)
    return torch.stack(outputs, dim=1), state


def encode_without_attention(w, x, decoder_inputs=None):
    """x (B, f, J) -> encoded gait states (B, f, H), reconstruction (B, f, J)."""
    h, state = encoder_states(w, x, w["decode/decoder/dense/kernel"].shape[0])
    reconstruction = []
    for t in range(x.shape[1]):
        u = torch.zeros_like(x[:, 0]) if decoder_inputs is None else decoder_inputs[:, t]
        s, state = two_layers(u, state, w, DECODER)
        reconstruction.append(s @ w["decode/decoder/dense/kernel"] + w["decode/decoder/dense/bias"])
    return h, torch.stack(reconstruction, dim=1)


def locality_mask(f, reverse, dtype):
    """The Gaussian around the frame that each step rebuilds, (f, f)."""
    centres = [f - 1 - t if reverse else t for t in range(f)]
    rows = [[math.exp(-((i - centre)**2) / (2 * (f / 2)**2)) for i in range(f)]
            for centre in centres]
    return torch.tensor(rows, dtype=dtype)


def encode(w, x, decoder_inputs=None, mask=None):
    """x (B, f, J) -> alignment (B, f, f), reconstruction (B, f, J), encodings (B, f, H).

    mask: rows of what multiplies the attention (MBA), after which each row is made to sum to 1.
    """
    B, f, J = x.shape
    H = w["memory_layer/kernel"].shape[0]
    h, state = encoder_states(w, x, H)
    keys = h @ w["memory_layer/kernel"]
    a = x.new_zeros(B, H)
    alignment, reconstruction, encodings = [], [], []
    for t in range(f):
        u = x.new_zeros(B, J) if decoder_inputs is None else decoder_inputs[:, t]
        s, state = two_layers(torch.cat([u, a], dim=1), state, w, DECODER)
        weights = torch.softmax((keys * s[:, None]).sum(2), dim=1)  # (B, f)
        if mask is not None:
            weights = torch.stack([row * mask[t] / (row * mask[t]).sum() for row in weights])
        context = (weights[:, :, None] * h).sum(1)
        a = (torch.cat([s, context], dim=1)
             @ w["decode/decoder/Attention_Wrapper/attention_layer/kernel"])
        alignment.append(weights)
        encodings.append(context)
        reconstruction.append(a @ w["decode/decoder/dense/kernel"] + w["decode/decoder/dense/bias"])
    return tuple(torch.stack(part, dim=1) for part in (alignment, reconstruction, encodings))


def losses(w, x, locality=True, reverse=True, decoder_inputs=None):
    """The loss terms of one axis; the target is the sequence in reverse order, or in its own."""
    f = x.shape[1]
    target = x.flip(1) if reverse else x
    alignment, reconstruction, _ = encode(w, x, decoder_inputs)
    out = {"reconstruction": 0.5 * ((reconstruction - target)**2).sum()}
    mask = locality_mask(f, reverse, x.dtype)
    local = 0.5 * ((alignment - alignment * mask)**2).sum()
    out["locality"] = local if locality else torch.zeros_like(local)
    out["l2"] = 0.02 * sum(0.5 * (v**2).sum() for v in w.values())
    out["total"] = out["reconstruction"] + out["locality"] + out["l2"]
    return out


class Training:
    """Three separate models with TensorFlow's Adam, a variable at a time. variables: a dict for
    each axis.
    """
    def __init__(self, variables, lr, clip):
        self.lr, self.clip, self.steps = lr, clip, 0
        self.variables = [{name: v.clone().requires_grad_() for name, v in w.items()}
                          for w in variables]
        self.m, self.v = ([{name: torch.zeros_like(v) for name, v in w.items()} for w in variables]
                          for _ in range(2))

    def step(self, skeletons):
        """One update of all axes by skeletons (B, f, J, 3). Returns the loss terms of each axis."""
        self.steps += 1
        rate = self.lr * math.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
        found = []
        for axis, (w, m, v) in enumerate(zip(self.variables, self.m, self.v, strict=True)):
            terms = losses(w, skeletons[..., axis])
            gradients = torch.autograd.grad(terms["total"], list(w.values()))
            with torch.no_grad():
                for name, gradient in zip(w, gradients, strict=True):
                    gradient = gradient.clamp(-self.clip, self.clip)
                    m[name] = 0.9 * m[name] + 0.1 * gradient
                    v[name] = 0.999 * v[name] + 0.001 * gradient**2
                    w[name] -= rate * m[name] / (v[name].sqrt() + 1e-8)
            found.append({name: term.item() for name, term in terms.items()})
        return found


def published_gradients(model, values=lambda p: p.grad):
    """Gradients (or other values) of the parameters under their TensorFlow names, in TensorFlow's
    layout.
    """
    names = {**AGE, **SGELA_HEAD, **{f"copies.{copy}": copy for copy in COPIES}}
    return {
        f"{axis}/{names[name]}": own.detach().T.numpy() if own.dim() == 2 else own.detach().numpy()
        for name, parameter in model.named_parameters()
        for axis, own in zip(AXES, values(parameter), strict=True)
    }


def weights_of(model):
    return published_gradients(model, values=lambda p: p)
