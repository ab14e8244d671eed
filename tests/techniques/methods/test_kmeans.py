"""k-means: what lies together is one cluster, and the same input always gives the same clusters."""

from __future__ import annotations

import random

import pytest

from promptkit.techniques.methods.pool import clusters

NEAR_ZERO = [[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]]
FAR = [[90.0, 90.0], [90.0, 91.0]]


def test_what_lies_together_is_a_cluster_with_the_nearest_to_its_centre_first() -> None:
    mixed = [NEAR_ZERO[2], FAR[0], NEAR_ZERO[0], FAR[1], NEAR_ZERO[1]]

    assert clusters(mixed, 2) == [[2, 4, 0], [1, 3]]


@pytest.mark.parametrize("seed", range(20))
def test_blobs_are_found_from_every_seed(seed: int) -> None:
    noise = random.Random(seed)
    points = [[centre + noise.random(), centre - noise.random()] for centre in (0, 20, 40, 60) for _ in range(12)]

    found = clusters(points, 4, seed=seed)

    assert sorted(map(sorted, found)) == [list(range(first, first + 12)) for first in (0, 12, 24, 36)]


def test_the_same_seed_gives_the_same_clusters() -> None:
    noise = random.Random(7)
    points = [[noise.random() for _ in range(5)] for _ in range(60)]

    assert clusters(points, 7, seed=3) == clusters(points, 7, seed=3)


def test_every_vector_is_in_one_cluster_and_none_is_empty() -> None:
    points = [[1.0, 1.0]] * 4 + [[5.0, 5.0]]

    found = clusters(points, 4)

    assert sorted(at for members in found for at in members) == [0, 1, 2, 3, 4]
    assert len(found) == 2


@pytest.mark.parametrize(("vectors", "expected"), [([], []), ([[1.0]], [[0]])])
def test_fewer_vectors_than_clusters_are_no_error(vectors: list[list[float]], expected: list[list[int]]) -> None:
    assert clusters(vectors, 4) == expected
