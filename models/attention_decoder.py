"""AGE's decoder over all steps, with gradients written by hand, for the three axes at once
(models/axes.py).

Step t reads a_{t-1} (and an input) and gives the decoder state s_t; softmax over the frames k of
<s_t, key_k> is the alignment, the alignment's mean of the encoded states the context c_t, and W
[s_t, c_t] the attentional state a_t.
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from models.axes import cell_backward, cell_forward


class AttentionDecoder(torch.autograd.Function):
    """Decode f steps. Shapes as in models/age.py, F steps for F frames.

    memory, keys (3, B, F, H): encoded gait states and their keys. state: h and c of both layers,
    (3, B, H) each. inputs (3, F, B, J): what the first layer is given, None for zeros. weight_0 (3,
    4H, J + 2H) for [input, a, h], weight_1 (3, 4H, 2H) for [h of the first layer, h]; bias_0,
    bias_1 (3, 1, 4H), the forget bias included. weight_a (3, H, 2H) for [s, c].

    Returns alignment (3, F, B, F), [s_t, c_t] (3, F, B, 2H) and a_t (3, F, B, H), the second axis
    counting steps.
    """

    @staticmethod
    def forward(
        ctx, memory, keys, h_0, c_0, h_1, c_1, inputs, weight_0, bias_0, weight_1, bias_1, weight_a
    ) -> tuple[Tensor, Tensor, Tensor]:
        _, B, F, H = memory.shape
        J = weight_0.shape[2] - 2 * H
        memory, keys = memory.flatten(0, 1), keys.flatten(0, 1)  # (3B, F, H)
        gates = memory.new_empty(2, 3, F, B, 4 * H)
        c = memory.new_empty(2, 3, F + 1, B, H)
        squashed = memory.new_empty(2, 3, F, B, H)
        read = memory.new_empty(
            3, 3, F, B, 2 * H
        )  # what layer 0, layer 1 and the attention layer read
        a = memory.new_empty(3, F, B, H)
        alignment = memory.new_empty(3, F, B, F)
        c[0, :, 0], c[1, :, 0] = c_0, c_1
        for t in range(F):
            if t:
                read[0, :, t, :, :H] = a[:, t - 1]
            read[0, :, t, :, H:] = h_0
            read[1, :, t, :, H:] = h_1
            start = 0 if t else H  # a_0 = 0
            sums = torch.baddbmm(bias_0, read[0, :, t, :, start:], weight_0[:, :, J + start :].mT)
            if inputs is not None:
                sums.baddbmm_(inputs[:, t], weight_0[:, :, :J].mT)
            gates[0, :, t] = sums
            h_0, h_1 = read[1, :, t, :, :H], read[2, :, t, :, :H]
            cell_forward(gates[0, :, t], c[0, :, t], c[0, :, t + 1], squashed[0, :, t], h_0)
            torch.baddbmm(bias_1, read[1, :, t], weight_1.mT, out=gates[1, :, t])
            cell_forward(gates[1, :, t], c[1, :, t], c[1, :, t + 1], squashed[1, :, t], h_1)
            scores = torch.bmm(h_1.reshape(3 * B, 1, H), keys.mT).softmax(dim=2)
            alignment[:, t] = scores.view(3, B, F)
            read[2, :, t, :, H:] = torch.bmm(scores, memory).view(3, B, H)
            torch.bmm(read[2, :, t], weight_a.mT, out=a[:, t])
        ctx.save_for_backward(
            memory, keys, inputs, weight_0, weight_1, weight_a, gates, c, squashed, read, alignment
        )
        ctx.set_materialize_grads(False)
        return alignment, read[2].clone(), a

    @staticmethod
    @once_differentiable
    def backward(
        ctx, grad_alignment: Tensor | None, grad_joined: Tensor | None, grad_a: Tensor | None
    ):
        (
            memory,
            keys,
            inputs,
            weight_0,
            weight_1,
            weight_a,
            gates,
            c,
            squashed,
            read,
            alignment,
        ) = ctx.saved_tensors
        _, F, B, _ = alignment.shape
        H = weight_a.shape[1]
        J = weight_0.shape[2] - 2 * H
        grad = torch.empty_like(gates)
        grads_a = memory.new_zeros(3, F, B, H) if grad_a is None else grad_a.clone()
        grad_scores = memory.new_empty(3 * B, F, F)  # step, frame
        grad_contexts = memory.new_empty(3 * B, F, H)
        grad_c_0 = grad_c_1 = read_0 = read_1 = (
            None  # gradients that step t + 1 passes to its c, and to what it reads
        )
        for t in reversed(range(F)):
            if read_0 is not None:
                grads_a[:, t] += read_0[:, :, :H]
            joined = torch.bmm(grads_a[:, t], weight_a)
            if grad_joined is not None:
                joined += grad_joined[:, t]
            grad_h, context = joined[:, :, :H], joined[:, :, H:].reshape(3 * B, 1, H)
            grad_contexts[:, t : t + 1] = context
            shares = torch.bmm(context, memory.mT)
            if grad_alignment is not None:
                shares += grad_alignment[:, t].reshape(3 * B, 1, F)
            scores = torch.ops.aten._softmax_backward_data(
                shares, alignment[:, t].reshape(3 * B, 1, F), 2, shares.dtype
            )
            grad_scores[:, t : t + 1] = scores
            grad_h = grad_h + torch.bmm(scores, keys).view(3, B, H)
            if read_1 is not None:
                grad_h += read_1[:, :, H:]
            grad_c_1 = cell_backward(
                gates[1, :, t], c[1, :, t], squashed[1, :, t], grad_h, grad_c_1, grad[1, :, t]
            )
            read_1 = torch.bmm(grad[1, :, t], weight_1)
            grad_h = read_1[:, :, :H]
            if read_0 is not None:
                grad_h = grad_h + read_0[:, :, H:]
            grad_c_0 = cell_backward(
                gates[0, :, t], c[0, :, t], squashed[0, :, t], grad_h, grad_c_0, grad[0, :, t]
            )
            read_0 = torch.bmm(grad[0, :, t], weight_0[:, :, J if t else J + H :])
        flat_0, flat_1 = grad.flatten(2, 3)  # (3, F B, 4H)
        grad_weight_0 = torch.zeros_like(weight_0) if inputs is None else torch.empty_like(weight_0)
        if inputs is not None:
            torch.bmm(flat_0.mT, inputs.flatten(1, 2), out=grad_weight_0[:, :, :J])
        later, earlier_a = (
            grad[0, :, 1:].flatten(1, 2),
            read[0, :, 1:, :, :H].flatten(1, 2),
        )  # a_0 = 0
        torch.bmm(later.mT, earlier_a, out=grad_weight_0[:, :, J : J + H])
        torch.bmm(flat_0.mT, read[0, :, :, :, H:].flatten(1, 2), out=grad_weight_0[:, :, J + H :])
        grad_inputs = None
        if ctx.needs_input_grad[6]:  # training does not ask for it
            grad_inputs = torch.bmm(flat_0, weight_0[:, :, :J]).unflatten(1, (F, B))
        s = read[2, ..., :H].transpose(1, 2).flatten(0, 1)  # (3B, F, H)
        return (
            torch.bmm(alignment.transpose(1, 2).flatten(0, 1).mT, grad_contexts).view(3, B, F, H),
            torch.bmm(grad_scores.mT, s).view(3, B, F, H),
            read_0, grad_c_0, read_1[:, :, H:], grad_c_1, grad_inputs,
            grad_weight_0, flat_0.sum(dim=1, keepdim=True),
            torch.bmm(flat_1.mT, read[1].flatten(1, 2)), flat_1.sum(dim=1, keepdim=True),
            torch.bmm(grads_a.flatten(1, 2).mT, read[2].flatten(1, 2)),
        )  # fmt: skip
