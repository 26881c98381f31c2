"""The processes that torchrun starts for one command: what they divide and put together again.

All of them load the same data, draw the same random numbers and take the same decisions. The first
one alone prints and writes. Without torchrun there is one, and nothing here changes what it does.
"""

import atexit
import os
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

# In the words of gloo, NCCL and their store when a process does not answer any more.
LOST = "connection|closed by|broken pipe|timed? ?out|failed to recv|remote ?error|aborted"


class ProcessEndedError(KeyboardInterrupt):
    """Another process of the command has ended, and so must this one."""


def number() -> int:
    """The number of this process, from 0 on."""
    return int(os.environ["RANK"]) if "TORCHELASTIC_RUN_ID" in os.environ else 0


def count() -> int:
    """How many processes there are."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1


def local() -> tuple[int, int]:
    """The number of this process among those on this machine, and how many these are."""
    if count() == 1:
        return 0, 1
    return int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])


@contextmanager
def first_speaks() -> Iterator[None]:
    """Let only the first process print; ProcessEndedError if torchrun says that another ended."""
    def end(*_) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise ProcessEndedError

    if count() > 1:
        signal.signal(signal.SIGTERM, end)
    if number() == 0:
        yield
        return
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _exchange(name: str, *arguments) -> Any:
    """The first argument, filled by torch.distributed; ProcessEndedError if a process is gone."""
    from torch import cuda, distributed

    try:
        if not distributed.is_initialized():
            has_nccl = cuda.is_available() and distributed.is_nccl_available()
            distributed.init_process_group("cpu:gloo,cuda:nccl" if has_nccl else "gloo")
            atexit.register(distributed.destroy_process_group)  # left open it can abort
        getattr(distributed, name)(*arguments)
    except RuntimeError as error:
        if re.search(LOST, str(error), re.IGNORECASE):
            raise ProcessEndedError from error
        raise
    return arguments[0]


def wait() -> None:
    """Wait until all processes are here."""
    if count() > 1:
        _exchange("all_gather_object", [None] * count(), None)


def share(size: int) -> slice:
    """Which of `size` things in a row are this process's."""
    return slice(size * number() // count(), size * (number() + 1) // count())


def part(size: int) -> tuple[slice, float]:
    """This process's sequences of a batch and their share of it; if none, the first one and 0."""
    own = share(size)
    return (own, (own.stop - own.start) / size) if own.stop > own.start else (slice(1), 0.0)


def divided(work: Callable[..., tuple], *blocks: Sequence, threads: bool = False) -> list:
    """The tensors that map(work, *blocks) gives for each block, those of all blocks end to end.
    Each process does whole blocks: no number changes with how many processes there are. threads: a
    block at a time in each of PyTorch's threads, whose products have one thread then.
    """
    import torch  # here, because it is slow to load and files are written without it

    results = (_in_threads if threads else map)(work, *(each[share(len(each))] for each in blocks))
    own = [torch.cat(tensors) for tensors in zip(*results, strict=True)]
    if count() == 1:
        return own
    forms, whole = [None] * count(), []
    _exchange("all_gather_object", forms, [(x.shape, x.dtype, x.device.type) for x in own])
    for place, (shape, dtype, device) in enumerate(next(filter(None, forms))):
        sizes = [form[place][0][0] if form else 0 for form in forms]
        whole.append(torch.empty(sum(sizes), *shape[1:], dtype=dtype, device=device))
        for sender, rows in enumerate(whole[-1].split(sizes)):
            if sender == number() and own:
                rows.copy_(own[place])
            _exchange("broadcast", rows, sender)
    return whole


def _in_threads(work: Callable[..., tuple], *blocks: Sequence) -> list[tuple]:
    import torch

    def unless_interrupted(*block) -> tuple:
        if interruptions:
            raise KeyboardInterrupt
        return work(*block)

    number = torch.get_num_threads()
    try:
        with _interruptions() as interruptions, \
                ThreadPoolExecutor(number, "block", torch.set_num_threads, (1,)) as pool:
            return list(pool.map(unless_interrupted, *blocks))
    finally:
        torch.set_num_threads(number)


@contextmanager
def _interruptions() -> Iterator[list]:
    """A Ctrl-C in the block is noted in the list and raised when the block ends.

    Raised while a thread starts, it would leave that thread to the end of Python, where PyTorch's
    call in it aborts.
    """
    noted = []
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield noted
        return
    signal.signal(signal.SIGINT, lambda *_: noted.append(True))
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if noted:
            raise KeyboardInterrupt


def on_whole_batch(work: Callable, rows: Any, size: int | None) -> Any:
    """This process's part of work(all rows of a batch of `size`), given the rows of its part: for
    what ties a batch together. Gradients are of the sum of all losses. None: no part of a batch.
    """
    if size is None or count() == 1:
        return work(rows)
    own, whole = share(size), rows.new_zeros(size, *rows.shape[1:])
    whole[own] = rows[:own.stop - own.start]
    _exchange("all_reduce", whole.detach())
    whole.register_hook(lambda gradient: _exchange("all_reduce", gradient.clone()))
    return work(whole)[part(size)[0]]


def average_gradients(losses: Mapping[str, Any], parameters: Iterable[Any],
                      weight: float) -> dict[str, Any]:
    """The losses of the whole batch, detached, and into the parameters its gradients, of those of
    the parts that the processes have taken. weight: of this process's part.
    """
    import torch

    values = {name: loss.detach() for name, loss in losses.items()}
    if count() > 1:
        own = [p for p in parameters if p.grad is not None]
        tensors = [*values.values(), *(p.grad for p in own)]
        flat = _exchange("all_reduce", torch.cat([x.flatten() for x in tensors]) * weight)
        parts = flat.split([x.numel() for x in tensors])
        means = [mean.view_as(x) for mean, x in zip(parts, tensors, strict=True)]
        for p, mean in zip(own, means[len(values):], strict=True):
            p.grad = mean  # of its own memory, which a gradient need not have
        values = dict(zip(values, means, strict=False))
    return values
