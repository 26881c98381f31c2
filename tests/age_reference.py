"""AGE the slow, obvious way: one axis at a time, one LSTM cell at a time, nothing batched over time or axes.

Works on a dict of TensorFlow variables of one axis (name without the axis prefix -> tensor). Used by the tests as
the yardstick for models/age.py and by the benchmarks as the thing to beat.
"""

import torch

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


def encode(w, x, decoder_inputs=None):
    """x (B, f, J) -> alignment (B, f, f), reconstruction (B, f, J), encodings (B, f, H)."""
    B, f, J = x.shape
    H = w["memory_layer/kernel"].shape[0]
    state = [(x.new_zeros(B, H), x.new_zeros(B, H)) for _ in range(2)]
    outputs = []
    for t in range(f):
        h, state = two_layers(x[:, t], state, w, ENCODER)
        outputs.append(h)
    h = torch.stack(outputs, dim=1)  # (B, f, H)
    a = x.new_zeros(B, H)
    alignment, reconstruction, encodings = [], [], []
    for t in range(f):
        u = x.new_zeros(B, J) if decoder_inputs is None else decoder_inputs[:, t]
        s, state = two_layers(torch.cat([u, a], dim=1), state, w, DECODER)
        keys = h @ w["memory_layer/kernel"]
        weights = torch.softmax((keys * s[:, None]).sum(2), dim=1)  # (B, f)
        context = (weights[:, :, None] * h).sum(1)
        kernel = w["decode/decoder/Attention_Wrapper/attention_layer/kernel"]
        a = torch.cat([s, context], dim=1) @ kernel
        alignment.append(weights)
        encodings.append(context)
        reconstruction.append(a @ w["decode/decoder/dense/kernel"] + w["decode/decoder/dense/bias"])
    return tuple(torch.stack(part, dim=1) for part in (alignment, reconstruction, encodings))


def losses(w, x, locality=True, reverse=True, decoder_inputs=None):
    """The loss terms of one axis; the target is the sequence in reverse order, or in its own."""
    f = x.shape[1]
    target = x.flip(1) if reverse else x
    alignment, reconstruction, _ = encode(w, x, decoder_inputs)
    out = {"reconstruction": 0.5 * ((reconstruction - target) ** 2).sum()}
    local = x.new_zeros(())
    for t in range(f):
        for i in range(f):
            centre = f - 1 - t if reverse else t
            weight = torch.exp(torch.tensor(-((i - centre) ** 2) / (2 * (f / 2) ** 2), dtype=x.dtype))
            local = local + 0.5 * ((alignment[:, t, i] * (1 - weight)) ** 2).sum()
    out["locality"] = local if locality else torch.zeros_like(local)
    out["l2"] = 0.02 * sum(0.5 * (v**2).sum() for v in w.values())
    out["total"] = out["reconstruction"] + out["locality"] + out["l2"]
    return out
