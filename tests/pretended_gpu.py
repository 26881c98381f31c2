"""GPUs that are not there: the arithmetic is the CPU's, the rules are CUDA's.

    python tests/pretended_gpu.py 2 train_simmc.py --dataset KS20 ...       a script, with two GPUs

A tensor is "on cuda:N" if its storage carries that mark: views share it, results of operations get
it. One mode watches the calls from Python (devices, copies, generators), another the operations
below autograd, also those of the backward pass. What CUDA refuses is refused in its words. Counted
are the kernels that would be launched and the places where the host would wait for the device.

Not seen are rounding, speed, a GPU's random numbers, and other threads.
"""

import runpy
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).parent.parent
WAITS = {  # operations for which the host waits
    "_linalg_check_errors", "_local_scalar_dense", "_unique2", "bincount", "equal", "histc",
    "is_nonzero", "masked_scatter", "masked_select", "multinomial", "nonzero", "unique_consecutive",
    "unique_dim"
}
NO_KERNEL = {  # operations that launch nothing
    "_local_scalar_dense", "_unsafe_view", "alias", "chunk", "detach", "detach_", "empty",
    "empty_like", "empty_strided", "lift_fresh", "new_empty", "new_empty_strided", "resize_",
    "set_", "split", "split_with_sizes", "unbind"
}
MAKES = {  # functions that make a tensor where `device` says, else on the CPU
    torch.arange, torch.as_tensor, torch.asarray, torch.empty, torch.eye, torch.frombuffer,
    torch.from_numpy, torch.full, torch.linspace, torch.ones, torch.rand, torch.randint,
    torch.randn, torch.randperm, torch.scalar_tensor, torch.tensor, torch.zeros
}
# Those that copy Python's or NumPy's numbers.
COPIES = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}


class Gpus:
    """How many there are, which one is current, and what was seen."""
    def __init__(self, count: int):
        self.count, self.current = count, 0
        self.inside: int | None = None  # GPU of the arguments of the call that runs
        self.quiet = False  # a deep copy runs, which stays on the device
        self.waits: Counter[str] = Counter()  # by the project's line and what was waited for
        self.kernels = 0
        self.steps: list[tuple[str, int, list[str]]] = []  # line of .backward(), kernels, waits

    def parse(self, device: Any) -> int | None:
        """The number of a GPU, None for the CPU."""
        device = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
        index = self.current if device.index is None else device.index
        if device.type == "cuda" and index >= self.count:
            raise RuntimeError("CUDA error: invalid device ordinal")
        return index if device.type == "cuda" else None

    def set_device(self, number: int) -> int:
        """Make a GPU the current one, if it is one. Returns the one before."""
        if number >= self.count:
            raise RuntimeError("CUDA error: invalid device ordinal")
        before, self.current = self.current, self.current if number < 0 else number
        return before

    def waited(self, what: str) -> None:
        if not self.quiet:
            self.waits[f"{line()} {what}"] += 1

    def end_step(self) -> None:
        """.backward() is called: what was seen since the call before."""
        seen = self.kernels, Counter(self.waits)
        kernels, waits = getattr(self, "seen", seen)
        self.steps.append((line(), self.kernels - kernels, sorted((seen[1] - waits).elements())))
        self.seen = seen


def line() -> str:
    """The line of the project that is being run."""
    frame = sys._getframe(1)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        inside = path.is_relative_to(ROOT) and path != Path(__file__)
        if inside and "site-packages" not in path.parts:
            return f"{path.relative_to(ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


def gpu_of(x: Tensor) -> int | None:
    """The number of a tensor's GPU; None: on the CPU."""
    try:
        return getattr(x.untyped_storage(), "gpu", None)
    except (NotImplementedError, RuntimeError):  # it has no storage
        return None


def mark(x: Tensor, gpu: int | None) -> Tensor:
    """Put the storage of a tensor on a GPU, or on the CPU."""
    x.untyped_storage().gpu = gpu
    return x


def among(*values: Any) -> list[Tensor]:
    """The tensors among values, or in lists among them."""
    lists = (value if isinstance(value, (list, tuple)) else (value,) for value in values)
    return [x for each in lists for x in each if isinstance(x, Tensor)]


class Calls(TorchFunctionMode):
    """What Python asks of torch: devices, copies, new tensors, generators."""
    def __init__(self, gpus: Gpus):
        super().__init__()
        self.gpus = gpus

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name, gpus = dict(kwargs or {}), getattr(func, "__name__", ""), self.gpus
        x = args[0] if args and isinstance(args[0], Tensor) else None
        gpu = None if x is None else gpu_of(x)
        if name in ("__get__", "__set__"):
            return self._attribute(func, func.__self__, name, gpu, args, kwargs)
        if func in (Tensor.numpy, Tensor.__array__) and gpu is not None:
            raise TypeError(f"can't convert cuda:{gpu} device type tensor to numpy. Use "
                            "Tensor.cpu() to copy the tensor to host memory first.")
        if func in (Tensor.to, Tensor.cpu, Tensor.cuda):
            return self._move(func, x, gpu, args[1:], kwargs)
        place = kwargs.pop("device", None)
        there = gpu if place is None else gpus.parse(place)
        if func is torch.as_tensor and x is not None and there != gpu:
            return self._move(func, x, gpu, (), {"dtype": kwargs.get("dtype"), "device": place})
        if (generator := kwargs.get("generator")) is not None:
            kinds = ["cpu" if own is None else "cuda" for own in (there, generator.gpu)]
            if kinds[0] != kinds[1]:
                raise RuntimeError(
                    "Expected a '{}' device type for generator but found '{}'".format(*kinds))
        if func is Tensor.tolist and gpu is not None:
            gpus.waited("tolist")
        if name == "backward":
            gpus.end_step()
        on = next((g for g in map(gpu_of, among(*args, *kwargs.values())) if g is not None), None)
        before = gpus.inside, gpus.quiet
        gpus.inside, gpus.quiet = None if func in MAKES else on, name == "__deepcopy__"
        try:
            out = func(*args, **kwargs)
        finally:
            gpus.inside, gpus.quiet = before
        makes = func in MAKES or name.endswith("_like") or name.startswith("new_")
        makes = makes or name == "__deepcopy__"
        if isinstance(out, Tensor) and makes and gpu_of(out) != there and out is not x:
            mark(out, there)
            if there is not None and func in COPIES:
                gpus.waited("numbers to the device")
        return out

    @staticmethod
    def _attribute(func, own, name, gpu, args, kwargs):
        if own is Tensor.device and gpu is not None:
            return torch.device("cuda", gpu)
        is_gradient = name == "__set__" and own is Tensor.grad and args[1] is not None
        if is_gradient and gpu_of(args[1]) != gpu:
            raise RuntimeError("assigned grad has data located on a different device")
        return gpu is not None if own is Tensor.is_cuda else func(*args, **kwargs)

    def _move(self, func, x, gpu, rest, kwargs):
        """.to, .cpu, .cuda: the tensor itself if it is there already, else a marked copy."""
        there = {Tensor.cuda: self.gpus.current, Tensor.cpu: None}.get(func, gpu)
        words = []
        for word in (*rest, kwargs.pop("other", None), kwargs.pop("device", None)):
            if isinstance(word, Tensor):
                there, words = gpu_of(word), [*words, word.dtype]
            elif isinstance(word, (str, torch.device, int)) and not isinstance(word, bool):
                there = self.gpus.parse(word)
            elif word is not None and not isinstance(word, bool):  # non_blocking, copy
                words.append(word)
        kwargs = {key: value for key, value in kwargs.items() if value is not None}
        out = x.to(*words, **kwargs) if words or kwargs else x
        if there != gpu:
            out = out.clone() if out.untyped_storage() is x.untyped_storage() else out
            self.gpus.waited("to the host" if there is None else "to the device")
            mark(out, there)
        return out


class Operations(TorchDispatchMode):
    """The operations below autograd: are all tensors where CUDA wants them? What waits?"""
    def __init__(self, gpus: Gpus):
        super().__init__()
        self.gpus = gpus

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), func._schema.name.partition("::")[2]
        tensors = among(*args, *kwargs.values())
        places = [gpu_of(x) for x in tensors]
        on = next((gpu for gpu in places if gpu is not None), None)
        if kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cuda":
            on, kwargs["device"] = self.gpus.parse(kwargs["device"]), torch.device("cpu")
            self.gpus.waited("to the device")
        elif on is not None and func.namespace == "aten":
            self._check(func, name, args, tensors, places, on)
        elif on is None and not tensors:
            on = self.gpus.inside  # C++ code that makes a tensor for one of its arguments
        out = func(*args, **kwargs)
        if on is None or func.namespace != "aten":
            return out
        self.gpus.kernels += not (func.is_view or name in NO_KERNEL)
        if name != "set_" and not (name == "copy_" and places[0] is None):
            for x in among(*(out if isinstance(out, (list, tuple)) else [out])):
                if gpu_of(x) is None:
                    mark(x, on)
        return out

    def _check(self, func, name, args, tensors, places, on):
        """RuntimeError where CUDA has one; count where the host waits."""
        if name == "copy_":
            if places[0] != places[1]:
                self.gpus.waited("to the device" if places[1] is None else "to the host")
        elif name in ("index", "_unsafe_index") or "index_put" in name:
            own, indices = places[0], [x for x in args[1] if x is not None]
            if own is None and any(gpu_of(x) is not None for x in indices):
                raise RuntimeError("indices should be either on cpu or on the same device as the "
                                   "indexed tensor (cpu)")
            value = args[2] if len(args) > 2 and isinstance(args[2], Tensor) else None
            if value is not None and gpu_of(value) != own and (value.dim() or gpu_of(value)):
                self._refuse({own, gpu_of(value)}, name)
            for x in indices:
                if own is not None and gpu_of(x) is None:
                    self.gpus.waited("index to the device")
                if x.dtype in (torch.bool, torch.uint8):
                    self.gpus.waited("index by a mask")
        else:
            each = name.startswith("_foreach_")
            free = each or torch.Tag.pointwise in func.tags or name in ("fill_", "fill", "where")
            for n, (x, gpu) in enumerate(zip(tensors, places, strict=True)):
                is_written = name.endswith("_") and not each and n == 0
                is_scalar = gpu is None and free and x.dim() == 0 and not is_written
                if gpu != on and not is_scalar:
                    self._refuse({on, gpu}, name)
            if name in WAITS or (name == "repeat_interleave" and len(args) < 3):
                self.gpus.waited(name)

    @staticmethod
    def _refuse(places, name):
        names = sorted("cpu" if gpu is None else f"cuda:{gpu}" for gpu in places)
        raise RuntimeError("Expected all tensors to be on the same device, but found at least two "
                           f"devices, {' and '.join(names)}! ({name}, {line()})")


@contextmanager
def pretended(count: int = 1) -> Iterator[Gpus]:
    """`count` GPUs are there while the block runs."""
    gpus, save, begin = Gpus(count), torch.save, distributed.init_process_group

    class Generator(torch._C.Generator):
        """Of any device."""
        def __new__(cls, device="cpu"):
            return super().__new__(cls, device="cpu")

        def __init__(self, device="cpu"):
            self.gpu = gpus.parse(device)

    def save_content(content, *args, **words):
        for x in tree_leaves(content):
            if isinstance(x, Tensor) and gpu_of(x) is not None:
                gpus.waited("saved")
        save(content, *args, **words)

    def init_process_group(backend="nccl"):
        for name in ("broadcast", "all_reduce"):
            patches.setattr(distributed, name, nccl(getattr(distributed, name), backend))
        begin("gloo")

    with pytest.MonkeyPatch.context() as patches:
        for name, value in {
                "is_available": lambda: True, "device_count": lambda: count,
                "is_initialized": lambda: True, "_lazy_init": lambda: None,
                "manual_seed": lambda seed: None, "manual_seed_all": lambda seed: None,
                "_is_in_bad_fork": lambda: False, "_exchange_device": gpus.set_device,
                "_maybe_exchange_device": gpus.set_device,
                "get_device_name": lambda device=None: "pretended GPU",
                "synchronize": lambda device=None: gpus.waited("synchronize")
        }.items():
            patches.setattr(torch.cuda, name, value)
        patches.setattr(torch._C, "_cuda_setDevice", gpus.set_device, raising=False)
        patches.setattr(torch._C, "_cuda_getDevice", lambda: gpus.current, raising=False)
        patches.setattr(torch.cuda.graphs, "_cuda_isCurrentStreamCapturing", lambda: False)
        patches.setattr(torch.backends.cudnn, "is_acceptable", lambda tensor: False)
        # A build of PyTorch for CUDA would ask the driver whether a graph is being captured.
        patches.setattr(torch.accelerator, "current_accelerator",
                        lambda check_available=False: None)
        patches.setattr(torch, "save", save_content)
        patches.setattr(torch, "Generator", Generator)
        patches.setattr(distributed, "is_nccl_available", lambda: True)
        patches.setattr(distributed, "init_process_group", init_process_group)
        with Calls(gpus), Operations(gpus):
            yield gpus


def nccl(call, backend):
    """A collective of torch.distributed that takes what these backends take."""
    def watched(x, *args, **words):
        if gpu_of(x) is None and "gloo" not in backend:
            raise RuntimeError("No backend type associated with device type cpu")
        if gpu_of(x) is not None and "nccl" not in backend:
            raise RuntimeError("No backend type associated with device type cuda")
        if gpu_of(x) is not None and not x.is_contiguous():
            raise ValueError("Tensors must be contiguous")
        return call(x, *args, **words)

    return watched


if __name__ == "__main__":
    sys.path[0] = str(Path.cwd())
    number, *sys.argv = sys.argv[1:]
    with pretended(int(number)):
        runpy.run_path(sys.argv[0], run_name="__main__")
