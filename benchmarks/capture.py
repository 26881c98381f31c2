"""What a GPU spends its time on: training steps launched kernel by kernel, and recorded as CUDA
graphs (--capture).

The share of time in kernels is what the kernels of a step take, by PyTorch's profiler, of its wall
time. KS20's published settings; AGE with 20 joints.
"""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from benchmarks.harness import Options, Report, SkippedError
from data.frame_subsets import draw_subsets
from engine.capture import Recorded
from engine.joint_step import JointStep
from engine.optimizer import TFAdam
from engine.recognisers import Recogniser
from engine.recognition_training import backward
from engine.settings import choose
from models.age import AGE
from models.smsge import SMSGE

LENGTH, PERSONS = 6, 20


def run(options: Options) -> Report:
    if not torch.cuda.is_available():
        raise SkippedError("CUDA graphs need a GPU")
    return compare_steps(torch.device("cuda"), 3 if options.quick else 50)


def compare_steps(device: torch.device, steps: int) -> Report:
    """Every kind of step on a device, plain and recorded, `steps` times each."""
    report = Report(f"Training steps on {torch.cuda.get_device_name(device)}")
    for name, make in (("AGE", age), ("SM-SGE", smsge), ("SM-SGE's recogniser", recogniser)):
        walls = {}
        for way, capture in (("kernel by kernel", False), ("recorded", True)):
            step = make(device, capture)
            walls[way], kernels = measure(step, steps, device)
            report.rows.append(
                {
                    "step": f"{name}, {way}",
                    "wall ms": 1e3 * walls[way],
                    "kernels ms": 1e3 * kernels,
                    "share in kernels": kernels / walls[way],
                    "faster": walls["kernel by kernel"] / walls[way],
                }
            )
    return report


def measure(step: Callable[[], object], steps: int, device: torch.device) -> tuple[float, float]:
    """Seconds a step: on the clock, and in kernels."""
    for _ in range(5):  # the first calls allocate, choose kernels, record
        step()
    torch.cuda.synchronize(device)
    start = time.perf_counter()
    for _ in range(steps):
        step()
    torch.cuda.synchronize(device)
    wall = (time.perf_counter() - start) / steps
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(steps):
            step()
        torch.cuda.synchronize(device)
    found = [each for each in profiler.key_averages() if each.device_type == DeviceType.CUDA]
    return wall, sum(each.self_device_time_total for each in found) / 1e6 / steps


def age(device: torch.device, capture: bool) -> Callable[[], object]:
    """A step of train_age.py's encoders."""
    settings = choose("AGE", "full", "KS20", "probe", {})
    model = AGE(20, settings["hidden"]).to(device)
    optimizer = TFAdam(model.parameters(), settings["lr"])
    compute = Recorded(model.backward, model.parameters()) if capture else model.backward
    skeletons = torch.randn(settings["batch_size"], LENGTH, 20, 3, device=device)
    return partial(_learn, compute, optimizer, skeletons)


def smsge(device: torch.device, capture: bool) -> Callable[[], object]:
    """A step of train_smsge.py's encoder."""
    settings = choose("SM-SGE", "full", "KS20", "probe", {})
    model = SMSGE(25, settings["D_h"]).to(device)
    step, rng = JointStep(model, settings["lr"], capture), np.random.RandomState(0)
    graphs = model.graphs(torch.randn(settings["batch_size"], LENGTH, 25, 3, device=device))
    return lambda: step(graphs, draw_subsets(rng, LENGTH))


def recogniser(device: torch.device, capture: bool) -> Callable[[], object]:
    """A step of train_smsge.py's recogniser."""
    settings = choose("SM-SGE", "full", "KS20", "probe", {})
    B, width = settings["batch_size"], 4 * settings["D_h"]
    network = Recogniser(width, PERSONS, width, "sum").to(device)
    optimizer = TFAdam(network.parameters(), settings["recognition_lr"])
    compute = partial(backward, network)
    compute = Recorded(compute, network.parameters()) if capture else compute
    rows, labels = (
        torch.randn(B, LENGTH, width, device=device),
        torch.arange(B, device=device) % PERSONS,
    )
    return partial(_learn, compute, optimizer, rows, labels)


def _learn(compute: Callable, optimizer: TFAdam, *batch: torch.Tensor) -> None:
    compute(*batch)
    optimizer.step()
