"""Training steps recorded as CUDA graphs: the host starts a step with one call, not kernel by
kernel.

A step of AGE or SM-SGE is hundreds of small kernels, which a GPU can end sooner than a host can
launch them. A recording holds the kernels and the addresses that they read and write. So what
varies from step to step must come in tensors of the same sizes, nothing may be read on the host,
and results lie in the same place every time.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common.errors import InputError

WARM_UP = (
    3  # calls before the recording, in which libraries choose kernels and take their workspaces
)
TOLERANCE = 1e-3  # between a replay and the step itself, of the largest number in a tensor


@dataclass(frozen=True)
class _Recording:
    buffers: list[Tensor]  # the arguments that are tensors
    replay: Callable[[], None]
    results: Any
    gradients: list[Tensor | None]


class Recorded:
    """compute(*arguments), recorded once for each combination of sizes and replayed ever after.

    compute: of tensors, and of other values that can be compared, gives tensors (in tuples and
    dicts) and leaves the gradients of some `parameters` in their .grad, where they are after each
    call here too. It changes nothing else, because it is also called to warm up. Results and
    gradients are those of the last call: the next overwrites them. Raises InputError if compute
    cannot be recorded, or if its recording gives other numbers than itself.
    """

    def __init__(self, compute: Callable[..., Any], parameters: Iterable[torch.nn.Parameter]):
        self.compute, self.parameters = compute, list(parameters)
        self.recordings: dict[tuple, _Recording] = {}

    def __call__(self, *arguments: Any) -> Any:
        key = tuple((x.shape, x.dtype) if isinstance(x, Tensor) else x for x in arguments)
        if key not in self.recordings:
            self.recordings[key] = self._recorded(arguments)
        recording = self.recordings[key]
        for buffer, x in zip(recording.buffers, _tensors(arguments), strict=True):
            buffer.copy_(x)
        return self._replayed(recording)

    def _replayed(self, recording: _Recording) -> Any:
        recording.replay()
        for parameter, gradient in zip(self.parameters, recording.gradients, strict=True):
            parameter.grad = gradient
        return recording.results

    def _recorded(self, arguments: tuple) -> _Recording:
        own = [x.clone() if isinstance(x, Tensor) else x for x in arguments]
        replay, results = record(lambda: self.compute(*own), self.parameters[0].device)
        recording = _Recording(
            list(_tensors(own)), replay, results, [p.grad for p in self.parameters]
        )
        expected = list(_tensors((self.compute(*own), [p.grad for p in self.parameters])))
        found = list(_tensors((self._replayed(recording), recording.gradients)))
        apart = max(map(_apart, found, expected))
        if not apart <= TOLERANCE:  # nor if it is no number
            raise InputError(
                f"the recorded training step gives other numbers than the step itself, {apart:.1e} of their size "
                f"apart where {TOLERANCE} is allowed; leave out --capture"
            )
        return recording


def record(compute: Callable[[], Any], device: torch.device) -> tuple[Callable[[], None], Any]:
    """Record compute() on a CUDA device. Returns what replays it, and where its results are after a
    replay.

    Raises InputError if it does what a recording cannot hold.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device):
        aside = (
            torch.cuda.Stream()
        )  # a recording wants work that has run on another stream than the default one
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                compute()
        torch.cuda.current_stream().wait_stream(aside)
        try:
            with torch.cuda.graph(graph):
                results = compute()
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            raise InputError(
                f"the training step could not be recorded as a CUDA graph ({reason}); leave out --capture"
            ) from error
    return graph.replay, results


def _tensors(content: Any) -> Iterator[Tensor]:
    """The tensors in tuples, lists and the values of dicts, in their order."""
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, dict):
        yield from _tensors(list(content.values()))
    elif isinstance(content, list | tuple):
        for each in content:
            yield from _tensors(each)


def _apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference, of the largest number expected."""
    largest = expected.abs().max().clamp(min=torch.finfo(expected.dtype).tiny)
    return ((found - expected).abs().max() / largest).item()
