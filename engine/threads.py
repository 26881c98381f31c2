"""Small matrix products on one thread."""

from collections.abc import Callable
from functools import wraps

import torch


def one_thread(work: Callable) -> Callable:
    """Run a function with one PyTorch thread, then as before.

    For batches of a few hundred sequences a second thread brings nothing on an idle machine, and on
    a busy one the threads wait for each other ten times as long as they compute.
    """
    @wraps(work)
    def call(*args, **kwargs):
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return work(*args, **kwargs)
        finally:
            torch.set_num_threads(threads)

    return call
