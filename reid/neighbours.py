"""Exact nearest neighbours by Euclidean distance, in blocks, on the device that holds the
features.
"""

import torch

from common.errors import InputError

# A block of distances is (rows, N) float32: 128 MiB keeps the matrix product efficient and memory
# linear in N.
BLOCK_BYTES = 1 << 27
GROUP = 32  # columns whose minimum is taken before the k smallest are looked for


def nearest_neighbours(features: torch.Tensor, k: int, search: str = "torch") -> torch.Tensor:
    """Indices of the k nearest features of every feature, itself included, nearest first.

    features: (N, d) float32 on any device. search: "torch" (default) or "faiss", the library that
    the released SimMC uses; faiss runs on a GPU only if its build has one. Returns (N, min(k, N))
    int64 on the same device. Among equal distances the lower index comes first. Distances are |x|^2
    + |y|^2 - 2 <x, y> in float32, negative values 0, so that neighbours nearer to each other than
    the rounding of that formula may change places.
    """
    k = min(k, len(features))
    if search == "faiss":
        return _faiss_neighbours(features, k)
    squares = features.square().sum(dim=1)
    rows = max(1, min(len(features), BLOCK_BYTES // (4 * len(features))))
    blocks = []
    for start in range(0, len(features), rows):
        query = features[start : start + rows]
        distances = torch.addmm(squares[None, :], query, features.T, alpha=-2.0)  # (rows, N)
        distances += squares[start : start + rows, None]
        blocks.append(k_smallest(distances.clamp_(min=0), k))
    return torch.cat(blocks)


def k_smallest(distances: torch.Tensor, k: int) -> torch.Tensor:
    """Column indices of the k smallest entries of each row, in order, the lower index first among
    equals.

    distances: (R, N) float32, no negative values. Returns (R, k) int64.

    The k smallest entries lie in the k groups of columns whose (minimum, number) are smallest, so
    that only k * GROUP columns of each row are sorted.
    """
    groups = distances.shape[1] // GROUP
    if groups <= k:
        return _keys(distances).topk(k, dim=1, largest=False).values & 0xFFFFFFFF
    whole = groups * GROUP
    minima = distances[:, :whole].view(-1, groups, GROUP).amin(dim=2)  # (R, groups)
    best = _keys(minima).topk(k, dim=1, largest=False, sorted=False).values & 0xFFFFFFFF  # (R, k)
    inside = torch.arange(GROUP, device=distances.device)
    columns = (best[:, :, None] * GROUP + inside).flatten(1)  # (R, k * GROUP)
    tail = torch.arange(whole, distances.shape[1], device=distances.device).expand(
        len(distances), -1
    )
    columns = torch.cat([columns, tail], dim=1)
    keys = _keys(distances.gather(1, columns), columns)
    return keys.topk(k, dim=1, largest=False).values & 0xFFFFFFFF


def _keys(values: torch.Tensor, columns: torch.Tensor | None = None) -> torch.Tensor:
    """One int64 for each (value, column) that sorts by value, then column: float32 bits above 32
    index bits.
    """
    if columns is None:
        columns = torch.arange(values.shape[1], device=values.device)
    return (values.contiguous().view(torch.int32).long() << 32) | columns


def _faiss_neighbours(features: torch.Tensor, k: int) -> torch.Tensor:
    try:
        import faiss
    except ImportError as error:
        raise InputError(
            "neighbour search by faiss asked for, but faiss is not installed: pip install faiss-cpu "
            "(or use the search 'torch')"
        ) from error
    index = faiss.IndexFlatL2(features.shape[1])
    if getattr(faiss, "get_num_gpus", lambda: 0)() > 0:
        index = faiss.index_cpu_to_all_gpus(index)
    array = features.detach().cpu().numpy()
    index.add(array)
    return torch.from_numpy(index.search(array, k)[1]).to(features.device)
