"""Claim: what an encoder training step of AGE takes, beside a plain version of it.

Losses and updated weights must agree. The floor is what the step's matrix products alone take, one
call each.
"""

import torch

from benchmarks.harness import Options, Report, alternate, compare
from skeleton_reid.engine.methods.age import AGESettings
from skeleton_reid.engine.optimizer import TFAdam
from skeleton_reid.models.age import AGE, AXES, CLIP
from skeleton_reid.tensorflow_v1 import published
from tests.reference import age as plain_age

LR = AGESettings.lr
PLAIN, OWN, FLOOR = "loops of cells", "train_age.py's step", "its matrix products alone"


def run(options: Options) -> Report:
    B, f, J, H = (4, 3, 5, 8) if options.quick else (128, 6, 20, 256)
    generator = torch.Generator().manual_seed(0)
    model = AGE(J, H, generator=generator)
    batches = torch.randn(options.rounds + 1, B, f, J, 3, generator=generator)
    plain = plain_age.Training([variables(model, axis) for axis in AXES], LR, CLIP)
    optimizer = TFAdam(model.parameters(), LR)
    products, flops = step_products(B, f, J, H)
    taken = {PLAIN: 0, OWN: 0}

    def next_batch(name: str) -> torch.Tensor:
        taken[name] += 1
        return batches[taken[name] - 1]

    def own_step() -> dict[str, torch.Tensor]:
        optimizer.zero_grad()
        losses = model.losses(next_batch(OWN))
        losses["total"].sum().backward()
        torch.nn.utils.clip_grad_value_(model.parameters(), CLIP)
        optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}

    versions = {PLAIN: lambda: plain.step(next_batch(PLAIN)), OWN: own_step, FLOOR: products}
    alternate(versions, 1)  # the first calls allocate
    results, times = alternate(versions, options.rounds)
    difference = check(results[PLAIN], results[OWN], plain, model, LR * taken[OWN])
    size = f"{B} sequences, f {f}, {J} joints, {H} units"
    report = Report(f"A training step of AGE ({size}; {torch.get_num_threads()} threads)")
    report.rows = compare(times, PLAIN)
    _, own, floor = report.rows
    report.notes = [
        f"after {taken[OWN]} steps weights differ by {difference:.1e} at most, losses < 1e-5",
        f"products: {flops / 1e9:.1f} GFLOP, {flops / 1e9 / floor['cpu s']:.0f} a CPU second",
        f"the step takes {own['cpu s'] / floor['cpu s']:.2f} times their CPU time"
    ]
    report.numbers = {"flops": flops, "difference": difference}
    report.require("at most 2.5 times its products' time", own["cpu s"] <= 2.5 * floor["cpu s"])
    return report


def variables(model: AGE, axis: str) -> dict[str, torch.Tensor]:
    """The weights of one axis under their TensorFlow names, in TensorFlow's layout."""
    own = {name: value[AXES.index(axis)] for name, value in model.named_parameters()}
    return {published.AGE[name]: value.detach().t().contiguous() for name, value in own.items()}


def check(plain_losses, losses, plain: plain_age.Training, model: AGE, moved: float) -> float:
    """The largest difference of a weight. Raises AssertionError where losses or weights disagree.

    moved: how far a weight can have gone. Where a gradient is near 0, Adam turns rounding into a
    share of a step.
    """
    for name, values in losses.items():
        expected = torch.tensor([terms[name] for terms in plain_losses])
        torch.testing.assert_close(values, expected, rtol=1e-5, atol=0)
    largest = 0.0
    for axis, w in zip(AXES, plain.variables, strict=True):
        for name, value in variables(model, axis).items():
            difference = (value - w[name].detach()).abs()
            largest = max(largest, difference.max().item())
            if difference.mean() > 1e-3 * moved:
                raise AssertionError(f"{name} of axis {axis} differs by {difference.mean():.1e}")
    return largest


def step_products(B: int, f: int, J: int, H: int):
    """A function that does a step's matrix products on random numbers, and their operations.

    Of each layer: outputs, gradient of the weights, gradient of what it reads; none for states that
    are 0 and none for the gradient of skeletons.
    """
    layers = [  # inputs, outputs, products of B rows, whether what it reads gets a gradient
        (J, 4 * H, f, False),
        (H, 4 * H, f - 1, True),  # encoder, layer 0: skeletons, h
        (H, 4 * H, f, True),
        (H, 4 * H, f - 1, True),  # layer 1: the states below, h
        (H, 4 * H, f, True),
        (H, 4 * H, f - 1, True),  # decoder, layer 0: h, a
        (2 * H, 4 * H, f, True),  # layer 1
        (H, H, f, True),
        (2 * H, H, f, True),
        (H, J, f, True)  # memory, attention, output
    ]  # fmt: skip
    work, flops = [], 0
    for inputs, outputs, rows, reads in layers:
        x, w, grad = (torch.randn(size) for size in ((B, inputs), (outputs, inputs), (B, outputs)))
        all_x, all_grad = torch.randn(rows * B, inputs), torch.randn(rows * B, outputs)
        into = torch.empty(B, outputs), torch.empty(B, inputs), torch.empty(outputs, inputs)
        work.append((x, w, grad, all_x, all_grad, into, rows, reads))
        flops += len(AXES) * 2 * rows * B * inputs * outputs * (3 if reads else 2)

    def products() -> None:
        for x, w, grad, all_x, all_grad, (y, grad_x, grad_w), rows, reads in work:
            for _ in AXES:
                for _ in range(rows):
                    torch.mm(x, w.T, out=y)
                    if reads:
                        torch.mm(grad, w, out=grad_x)
                torch.mm(all_grad.T, all_x, out=grad_w)

    return products, flops
