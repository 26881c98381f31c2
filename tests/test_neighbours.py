"""The search by way of a subspace against the plain one: the same neighbours in the same order."""

from functools import partial
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from skeleton_reid.reid import loops, neighbours
from skeleton_reid.reid.neighbours import INDEX_BITS, Subspace, nearest_neighbours
from tests.reference import jaccard as reference
from tests.reference import neighbours as plain

SIZE, D, K = 900, 128, 20


def low_rank(generator: torch.Generator, rank: int = 6) -> torch.Tensor:
    axes = torch.randn(rank, D, generator=generator)
    return torch.randn(SIZE, rank, generator=generator) @ axes


def whole(generator: torch.Generator) -> torch.Tensor:
    """Whole numbers: distances are exact, and many are equal."""
    codes = torch.randint(-2, 3, (SIZE, 4), generator=generator)
    return (codes @ torch.randint(-2, 3, (4, D), generator=generator)).float()


def some(share: float, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(SIZE, 1, generator=generator) < share


KINDS = {
    "low rank": low_rank,
    "trained-like": lambda g: low_rank(g, 12) + 0.1 * torch.randn(SIZE, D, generator=g),
    "full rank": lambda g: low_rank(g, D),
    "clustered": lambda g: 4 * low_rank(g)[::45].repeat_interleave(45, dim=0) + low_rank(g, D) / 50,
    "copies": lambda g: low_rank(g)[torch.randint(99, (SIZE,), generator=g)],
    "all the same": lambda g: torch.ones(SIZE, D), "zeros": lambda g: low_rank(g) * some(0.6, g),
    "whole numbers": whole, "huge": lambda g: 1e13 * low_rank(g),
    "some huge": lambda g: low_rank(g) * torch.where(some(0.05, g), 1e9, 1.0),
    "tiny": lambda g: 1e-20 * low_rank(g),
    "few not tiny": lambda g: low_rank(g) * torch.where(some(0.9, g), 1e-14, 1.0),
    "far from zero": lambda g: 3000 + low_rank(g),
    "nearly copies": lambda g: low_rank(g)[torch.randint(99, (SIZE,), generator=g)] *
    (1 + 1e-7 * torch.randn(SIZE, 1, generator=g))
}

SURE = {"low rank", "trained-like", "full rank", "whole numbers", "huge"}


@pytest.fixture
def small(monkeypatch):
    """Sizes for which few features make many blocks."""
    for name, value in {"BLOCK": 24, "DIRECTIONS": 8, "TILE": 100}.items():
        monkeypatch.setattr(neighbours, name, value)
    monkeypatch.setattr(neighbours, "SMALLEST", SIZE)


@pytest.mark.parametrize("kind", KINDS)
def test_subspace_finds_what_the_plain_search_finds(kind, small):
    x = KINDS[kind](torch.Generator().manual_seed(len(kind)))
    search = Subspace(x, x.square().sum(dim=1), K)
    assert torch.equal(search.neighbours(), plain.nearest_neighbours(x, K))
    sure = all(search.nearest(block)[1] for block in search.blocks)
    assert sure == (kind in SURE)  # else some rows are searched plainly


@pytest.mark.parametrize("k", [1, 2, 100])
def test_any_number_of_neighbours(k, small):
    x = KINDS["trained-like"](torch.Generator().manual_seed(k))
    found = Subspace(x, x.square().sum(dim=1), k).neighbours()
    assert torch.equal(found, plain.nearest_neighbours(x, k))


def test_few_distances_are_computed(small, monkeypatch):
    """The others are left out by their bounds."""
    x, counts = KINDS["clustered"](torch.Generator().manual_seed(0)), []
    search = Subspace(x, x.square().sum(dim=1), K)
    keep_nearest = loops.keep_nearest

    def counted(bounds, *others):
        near = others[-2]
        counts.append((bounds <= near[:, -1:]).mean())
        keep_nearest(bounds, *others)

    monkeypatch.setattr(loops, "keep_nearest", counted)
    search.neighbours()
    assert np.mean(counts) < 0.2


def test_what_faiss_is_not_sure_of_is_searched_plainly():
    """Its candidates end among equal distances, of which it may give any: here the highest
    numbers.
    """
    x = torch.from_numpy(np.random.RandomState(0).randint(0, 2, size=(200, 2)).astype(np.float32))
    squares = x.square().sum(dim=1)
    index = Mock(search=lambda rows, k: last_of_equal(x.numpy(), rows, k))
    search = partial(neighbours._nearest, x, squares, 20)
    found = neighbours._nearest_by_faiss(index, search, x, squares) & INDEX_BITS
    assert not neighbours.candidates(index, x.numpy(), 20)[1].any()
    assert torch.equal(found, nearest_neighbours(x, 20))


def last_of_equal(x, rows, k):
    """Squared distances (R, k) and numbers of the k nearest, of equal ones the last first."""
    distances = ((rows[:, None] - x)**2).sum(axis=2)
    order = len(x) - 1 - np.argsort(distances[:, ::-1], axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), order


@pytest.mark.parametrize("kind", ["whole numbers", "copies"])
def test_of_equal_distances_the_lower_index_is_first(kind, small):
    x = KINDS[kind](torch.Generator().manual_seed(1))[:300].round()
    expected = reference.nearest_neighbours(x.numpy(), K)
    squares = x.square().sum(dim=1)
    np.testing.assert_array_equal(Subspace(x, squares, K).neighbours().numpy(), expected)


def test_rounding_is_allowed_for(small, monkeypatch):
    """Without its error terms the search would leave out neighbours that rounding brings near."""
    x = KINDS["far from zero"](torch.Generator().manual_seed(0))
    search = Subspace(x, x.square().sum(dim=1), K)
    monkeypatch.setattr(search, "error", 0.0)
    assert not torch.equal(search.neighbours(), plain.nearest_neighbours(x, K))


def test_products_whose_bits_hang_on_their_shape_are_left_to_the_plain_search(small, monkeypatch):
    x = low_rank(torch.Generator().manual_seed(0), 2)
    distances = neighbours._distances

    def other(features, *others):
        return distances(features, *others) * (1 if len(features) == SIZE else 1 + 2**-23)

    monkeypatch.setattr(neighbours, "_distances", other)
    assert Subspace.of(x, x.square().sum(dim=1), K) is None
    assert torch.equal(nearest_neighbours(x, K), plain.nearest_neighbours(x, K))


def test_subspace_only_where_it_pays(small):
    generator = torch.Generator().manual_seed(0)
    flat = low_rank(generator, 2)
    cases = (flat, True), (low_rank(generator, D), False), (flat[:-1], False), (1e16 * flat, False)
    for x, pays in cases:
        assert (Subspace.of(x, x.square().sum(dim=1), K) is not None) == pays
        assert torch.equal(nearest_neighbours(x, K)[:, 0], torch.arange(len(x)))
