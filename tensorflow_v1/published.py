"""How the published checkpoints of AGE, SGELA, SimMC and SM-SGE name their weights, and models that
have them: what `from_published` of a model does.

variables: arrays by name, without ":0"; they tell the sizes. All raise InputError for others.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from skeleton_reid.common.errors import InputError
from skeleton_reid.tensorflow_v1.variables import fill, fill_parts, numbered, pick

Variables = Mapping[str, np.ndarray]
Filled = Iterator[tuple[str,
                        list[Tensor]]]  # variables, and the tensors one below the other in each

_WRAPPER = "decode/decoder/Attention_Wrapper"
# Parameter of an axis -> variable of its checkpoint.
AGE = {
    f"{ours}.cells.{layer}.{part}": f"{theirs}/multi_rnn_cell/cell_{layer}/lstm_cell/{variable}"
    for ours, theirs in (("encoder", "rnn"), ("decoder", _WRAPPER)) for layer in (0, 1)
    for part, variable in (("weight", "kernel"), ("bias", "bias"))
} | {
    "decoder.memory.weight": "memory_layer/kernel",
    "decoder.attention.weight": f"{_WRAPPER}/attention_layer/kernel",
    "decoder.output.weight": "decode/decoder/dense/kernel",
    "decoder.output.bias": "decode/decoder/dense/bias"
}
SGELA_HEAD = {
    "head.hidden.weight": "W1", "head.hidden.bias": "b1", "head.output.weight": "W",
    "head.output.bias": "Variable"
}
# Variables that AGE's released code never uses, and the parameters that they start as copies of.
COPIES = {"lstm_weights_layer_1": "encoder.cells.0.weight"}
COPIES["lstm_weights_layer_2"] = "encoder.cells.1.bias"

# Kernel and bias of both layers of a recognition network. A finished SM-SGE also holds the unused
# one of its pre-training graph, Variable to _3: Variable_4 to _7 go first.
_SMSGE, _AGE = "Recognition/Recognition/Variable", ("W1", "b1", "W")
RECOGNITION = (tuple(f"{_SMSGE}_{n}" for n in (4, 5, 6, 7)),
               (_SMSGE, *(f"{_SMSGE}_{n}" for n in (1, 2, 3))), (*_AGE, "Variable"), (*_AGE, "b"))
# SM-SGE's relations in the order of the variables 8 ... 18; number 11 is not used.
RELATIONS = ("JP", "PB", "JB", None, "IJ", "IP", "IB", "II", "JJ", "PP", "BB")


def age(model_class: Any, variables: Variables, **options) -> Any:
    """AGE or SGELA, of names after `x/`, `y/` or `z/`; the unused copies may be missing."""
    names = AGE | SGELA_HEAD
    hidden, joints = pick(variables, f"x/{AGE['decoder.output.weight']}").shape
    model = model_class(joints, hidden, **options)
    for copy, source in COPIES.items():
        names[f"copies.{copy}"] = copy if f"x/{copy}" in variables else AGE[source]
    for parameter, value in model.named_parameters():
        for axis, own in zip("xyz", value, strict=True):
            fill(own, variables, f"{axis}/{names[parameter]}")
    return model


def simmc(model_class: Any, variables: Variables) -> Any:
    """SimMC, of SimMC/dense/kernel, ... Variable_1."""
    pattern = re.compile(r"(?:^|/)(dense(?:_\d+)?/(?:kernel|bias)|Variable(?:_1)?)$")
    arrays = {m[1]: array for name, array in variables.items() if (m := pattern.search(name))}
    depth = sum(name.endswith("kernel") for name in arrays)
    dense = [numbered("dense", n) for n in range(depth)]
    names = [f"{name}/{part}" for name in dense for part in ("kernel", "bias")]
    names += ["Variable", "Variable_1"]  # the predictor
    if depth < 2 or any(name not in arrays for name in names):
        raise InputError(
            "expected SimMC's variables (dense/kernel, dense/bias, dense_1/..., Variable, "
            f"Variable_1), found {', '.join(sorted(variables)[:8]) or 'none'}")
    inputs, H = arrays["dense/kernel"].shape
    return _filled(model_class(inputs, H, depth - 1), arrays, names)


def recognition(model_class: Any, variables: Variables) -> Any:
    """The recognition network of AGE or SM-SGE."""
    names = next((names for names in RECOGNITION if all(n in variables for n in names)), None)
    if names is None:
        found = ", ".join(sorted(variables)[:8]) or "none"
        raise InputError(f"no recognition network {RECOGNITION[2]} or {_SMSGE}..., found {found}")
    kernel, persons = variables[names[0]], variables[names[2]].shape[-1]
    return _filled(model_class(len(kernel), persons, kernel.shape[-1]), variables, names)


def _filled(model: nn.Module, variables: Variables,
            names: list[str] | tuple[str, ...]) -> nn.Module:
    """A model of linear layers, filled in the order of its parameters."""
    for parameter, name in zip(model.parameters(), names, strict=True):
        fill(parameter, variables, name)
    return model


def smsge(model_class: Any, variables: Variables, **options) -> Any:
    """SM-SGE."""
    D_h, width = pick(variables, "MSR/MSR/J_pred/J_pred/Variable_2").shape
    hidden = pick(variables, "Multi_Scale/Multi_Scale/Variable").shape[1]
    heads = sum(name.startswith("Multi_Scale/BiasAdd") for name in variables) // 4
    model = model_class(width // 3, D_h, heads=max(1, heads), hidden=hidden, **options)
    for name, parts in smsge_names(model):
        fill_parts(parts, variables, name)
    return model


def smsge_names(model: Any) -> Filled:
    """Of SM-SGE."""
    for order, scale in enumerate("JPBI"):
        yield from graph_attention(model.structure[scale], "Multi_Scale", order)
    for number, pair in enumerate(RELATIONS, 8):
        if pair in model.relation:
            yield f"Multi_Scale/Multi_Scale/Variable_{number}", [model.relation[pair]]
    for s, scale in enumerate(model.scales):
        yield from prefix_lstm(model.dynamics, f"MSR/{scale}_pred", s)
        targets = "JPBI" if scale == "I" else model.coarser(scale)
        own = [p for target in targets for p in model.head[scale + target].parameters()]
        for number, parameter in enumerate(own):
            yield numbered(f"MSR/MSR/{scale}_pred/{scale}_pred/Variable", number), [parameter]


def graph_attention(layer: Any, scope: str, number: int) -> Filled:
    """Of a layer of graph attention. scope: of the model's graph, such as Multi_Scale; number: of
    the layer in it, from 0.
    """
    heads = len(layer.b)
    yield numbered(f"{scope}/{scope}/Variable", 2 * number), [layer.W_in]
    yield numbered(f"{scope}/{scope}/Variable", 2 * number + 1), [layer.b_in]
    for head, count in enumerate(range(number * heads, (number + 1) * heads)):
        yield numbered(f"{scope}/conv1d", 3 * count) + "/kernel", [layer.W[head]]
        for which in (0, 1):
            score = numbered(f"{scope}/conv1d", 3 * count + 1 + which)
            yield f"{score}/kernel", [layer.a[which, head]]
            yield f"{score}/bias", [layer.b_a[which, head]]
        yield numbered(f"{scope}/BiasAdd", count) + "/biases", [layer.b[head]]


def prefix_lstm(dynamics: Any, folder: str, s: int) -> Filled:
    """Of LSTM s."""
    for layer, into in enumerate((dynamics.into_first[s], dynamics.into_second[s])):
        cell = f"{folder}/rnn/multi_rnn_cell/cell_{layer}/lstm_cell"
        yield f"{cell}/kernel", [into, dynamics.recurrent[layer][s]]
        yield f"{cell}/bias", [dynamics.bias[layer][s]]
