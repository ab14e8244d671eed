"""Which rows a search may see and which are kept for the verdict: by what they hold, so that it stays so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SALTS: Final = 1_000
"""So many splits are looked at before the nearest is taken."""
MOST_CONFIRM: Final = 500
KEY_BYTES: Final = 8
_GOLDEN: Final = 0x9E3779B97F4A7C15


@dataclass(frozen=True, slots=True)
class Split:
    """The rows of both sides by their numbers, in their order, and what the sides were found by.

    `salt` and `share` are to be recorded: with them the same row is always on the same side. `duplicates` counts rows
    that hold what an earlier one holds. Where clusters are given, a row of the search that holds the same as a confirm
    row is on neither side.
    """

    search: tuple[int, ...]
    confirm: tuple[int, ...]
    salt: int
    share: float
    duplicates: int


def row_content(inputs: Mapping[str, Any]) -> str:
    """Return what makes two rows duplicates: all inputs; case, runs of blanks and the order of keys left aside."""
    return json.dumps(_plain(inputs), sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return " ".join(value.casefold().split())
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def confirm_share(rows: int) -> float:
    """Return the share of rows that is kept for the verdict, where a verdict is what rows are scarce for."""
    if rows <= 300:
        return 0.6
    return 0.5 if rows <= 2 * MOST_CONFIRM else MOST_CONFIRM / rows


def split_rows(
    contents: Sequence[str],
    *,
    labels: Sequence[Hashable] | None = None,
    clusters: Sequence[Hashable] | None = None,
    recorded: tuple[int, float] | None = None,
) -> Split:
    """Return which rows are searched on and which the verdict rests on.

    `contents`, of `row_content`, `labels` and `clusters` are (rows,); the rows of a cluster are on one side.
    `recorded` is the salt and the share of an earlier split of these data, which are kept, so that rows added since
    move none. Without it the share is `confirm_share` of the rows and the salt the first whose split has within one row
    of what that share makes of all rows and of those of each label, or the nearest of 1,000. Labels are looked at,
    never scores. A side is empty where all rows hold the same, or are of one cluster. Raises ValueError for lengths
    that differ and for no rows.
    """
    rows = len(contents)
    if not rows or any(each is not None and len(each) != rows for each in (labels, clusters)):
        raise ValueError(f"{rows} rows are not split, or have more or fewer labels or clusters")
    codes = _codes(contents if clusters is None else [_cluster_key(each) for each in clusters])
    if recorded is None:
        share = confirm_share(rows)
        salt = _nearest_salt(codes, share, labels)
    else:
        salt, share = recorded
    kept = _places(codes, salt) < share
    unseen = {contents[row] for row in range(rows) if kept[row]}
    return Split(
        search=tuple(row for row in range(rows) if not kept[row] and contents[row] not in unseen),
        confirm=tuple(row for row in range(rows) if kept[row]),
        salt=salt,
        share=share,
        duplicates=rows - len(set(contents)),
    )


def _cluster_key(cluster: Hashable) -> str:
    # Not the same as any content, which is a mapping.
    return json.dumps([str(cluster)], ensure_ascii=False)


def _codes(keys: Sequence[str]) -> NDArray[np.uint64]:
    import numpy as np

    digests = (hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES).digest() for key in keys)
    return np.array([int.from_bytes(digest, "big") for digest in digests], dtype=np.uint64)


def _places(codes: NDArray[np.uint64], salt: int) -> NDArray[np.float64]:
    """Return where in [0, 1) each code falls under a salt: SplitMix64 (Steele, Lea & Flood 2014, OOPSLA), which is
    much quicker than to hash a thousand times."""
    import numpy as np

    mixed = codes + np.uint64((salt + 1) * _GOLDEN % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(11)) / 2**53, dtype=np.float64)


def _nearest_salt(codes: NDArray[np.uint64], share: float, labels: Sequence[Hashable] | None) -> int:
    """Return the first salt whose split is within one row of the share, of all and of each label, or the nearest."""
    import numpy as np

    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels or ()))}
    of_label = np.array([numbers[label] for label in labels] if labels else [0] * len(codes))
    wanted = share * np.bincount(of_label)
    nearest, least = 0, np.inf
    for salt in range(SALTS):
        off_by = np.bincount(of_label, weights=_places(codes, salt) < share) - wanted
        off = max(abs(float(off_by.sum())), float(np.abs(off_by).max()))
        if off <= 1:
            return salt
        if off < least:
            nearest, least = salt, off
    return nearest
