"""k-means: a pool in clusters, so that what is taken from each covers the pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

STARTS = 10
ROUNDS = 100


def clusters(vectors: Sequence[Sequence[float]], count: int, *, seed: int = 0) -> list[list[int]]:
    """Return the positions of the vectors in at most `count` clusters, in each those nearest its centre first.

    The clusters are in the order of their first members. Lloyd's algorithm from starts spread by k-means++ (Arthur and
    Vassilvitskii 2007), the tightest of several; the same vectors and seed always give the same clusters.
    """
    import numpy as np

    if not vectors:
        return []
    points = np.asarray(vectors, dtype=float)
    random = np.random.default_rng(seed)
    runs = [_run(points, min(count, len(points)), random) for _ in range(STARTS)]
    _, nearest, distances = min(runs, key=lambda run: run[0])
    found = [np.flatnonzero(nearest == number) for number in range(distances.shape[1])]
    ordered = [sorted(map(int, members), key=distances[:, number].__getitem__) for number, members in enumerate(found)]
    return sorted((members for members in ordered if members), key=min)


def _run(points: NDArray[Any], count: int, random: Any) -> tuple[float, NDArray[Any], NDArray[Any]]:
    """Return the spread of one run, each point's cluster, and its distance to every centre."""
    centres = _starts(points, count, random)
    nearest = None
    for _ in range(ROUNDS):
        distances = _distances(points, centres)
        before, nearest = nearest, distances.argmin(axis=1)
        if before is not None and (before == nearest).all():
            break
        for number in range(count):
            members = points[nearest == number]
            if len(members):
                centres[number] = members.mean(axis=0)
    assert nearest is not None, "there is at least one round"
    return float(distances.min(axis=1).sum()), nearest, distances


def _starts(points: NDArray[Any], count: int, random: Any) -> NDArray[Any]:
    """Return the first centres: each next one a point, the likelier the farther it is from those before."""
    import numpy as np

    chosen = [int(random.integers(len(points)))]
    while len(chosen) < count:
        far = _distances(points, points[chosen]).min(axis=1)
        weights = far / far.sum() if far.sum() else np.full(len(points), 1 / len(points))
        chosen.append(int(random.choice(len(points), p=weights)))
    return points[chosen].copy()


def _distances(points: NDArray[Any], centres: NDArray[Any]) -> NDArray[Any]:
    """Return the squared distance of each point to each centre, rounded so that equal ones are equal."""
    import numpy as np

    squares = (points**2).sum(axis=1)[:, None] - 2 * points @ centres.T + (centres**2).sum(axis=1)[None, :]
    return np.asarray(squares.clip(min=0).round(9))
