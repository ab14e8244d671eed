"""A baseline: what a run said of each row, in a small file that a repository keeps and compares with.

A JSON object in which each row is a line of its own, so that a change of a few answers is a change of a few lines:

    {"promptkit": "baseline", "version": 1,
    "suite": "sentiment",
    …
    "rows": [
    ["HASH OF THE ROW", [{"accuracy": [1.0, {"expected": "positive", "predicted": "positive"}], "chrf": 61.2}]]
    ]}

After a row's hash come its repeats; each has for each metric its score, with what else the comparison needs of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptkit.errors import InputError, Problem, place
from promptkit.evaluation.comparison.run_rows import RowKey, RowScores, RunRows, numbered, reference_of
from promptkit.evaluation.metrics.base import Score
from promptkit.storage.files import read_text, write_atomic
from promptkit.storage.strict_json import parse_json

if TYPE_CHECKING:
    from promptkit.evaluation.stored_run import StoredRun

HEADER = {"promptkit": "baseline", "version": 1}
LONGEST = 200
"""Texts of a score that are longer are for people: no comparison needs them."""

_HINT = "a baseline is made by `promptkit runs export RUN --baseline FILE`"


def write_baseline(view: StoredRun, path: Path) -> None:
    """Write the first variant of a run as a baseline. Raises InputError for a run that is not done, and StoreFailed."""
    write_atomic(path, "".join(baseline_lines(view)))


def baseline_lines(view: StoredRun) -> Iterator[str]:
    """Yield the lines of a baseline's file. Raises InputError for a run that is not done."""
    if view.status != "done":
        hint = "`promptkit eval SUITE --retry-errors` asks again what failed" if view.status == "incomplete" else None
        raise InputError(f"run {view.number} is {view.status}: a baseline has an answer to each row", hint=hint)
    reference, record = reference_of(view, name=""), view.record
    assert record is not None, "a run that is done has a record"
    told = {
        "suite": reference.suite,
        "target": record.target,
        "variant": view.variants[0],
        "sets": record.variants[0].sets,
        "model": reference.model,
        "exact": reference.exact,
        "in_flight": reference.in_flight,
        "repeat": reference.repeat,
        "limited": record.limited,
        "made": reference.made,
        "metrics": {
            name: {"key": reference.keys[name], "mean": each.mean, "n": each.n}
            for name, each in record.variants[0].metrics.items()
        },
    }
    yield _text(HEADER)[:-1]
    for key, value in told.items():
        yield f",\n{_text(key)}: {_text(value)}"
    between = ',\n"rows": [\n'
    for (row_hash, _), row in reference.read_rows().items():
        yield between + _text([row_hash.hex(), [_kept(scores) for scores in row.repeats]])
        between = ",\n"
    yield "\n]}\n"


def _kept(scores: Mapping[str, Score]) -> dict[str, Any]:
    return {name: _kept_score(score) for name, score in scores.items()}


def _kept_score(score: Score) -> Any:
    detail = {
        key: value for key, value in score.detail.items() if not (isinstance(value, str) and len(value) > LONGEST)
    }
    return [score.value, detail] if detail else score.value


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def read_baseline(path: Path) -> RunRows:
    """Read a baseline. Raises InputError for a file that is none, or not whole."""
    text = read_text(path)
    file = str(place(path))
    try:
        record = parse_json(text)
        if not isinstance(record, dict) or {key: record.get(key) for key in HEADER} != HEADER:
            raise InputError(Problem("this is no baseline of this version of promptkit", file, 1, hint=_HINT))
        repeat = int(record["repeat"])
        rows = numbered((bytes.fromhex(key), _row(repeats, repeat)) for key, repeats in record["rows"])
        return _reference(record, file, rows)
    except json.JSONDecodeError as error:
        hint = "a merge left its marks here: make it anew" if "<<<<<<<" in text else _HINT
        raise InputError(Problem(f"not JSON: {error.msg}", file, error.lineno, error.colno, hint=hint)) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(Problem(f"this is no whole baseline: {_error_text(error)}", file, hint=_HINT)) from None


def _reference(record: Mapping[str, Any], file: str, rows: Mapping[RowKey, RowScores]) -> RunRows:
    model, in_flight = record["model"], record["in_flight"]
    return RunRows(
        name=file,
        suite=str(record["suite"]),
        model={
            **{key: str(model[key]) for key in ("reference", "digest")},
            "others": {str(name): str(digest) for name, digest in dict(model.get("others", {})).items()},
        },
        exact=bool(record["exact"]),
        in_flight=None if in_flight is None else int(in_flight),
        repeat=int(record["repeat"]),
        rows=len(rows),
        made=str(record["made"]),
        keys={name: str(each["key"]) for name, each in record["metrics"].items()},
        read_rows=lambda: rows,
    )


def _row(repeats: list[Mapping[str, Any]], repeat: int) -> RowScores:
    if len(repeats) != repeat:
        raise ValueError(f"a row has {len(repeats)} of {repeat} repeats")
    return RowScores(0, tuple({name: _score(kept) for name, kept in scores.items()} for scores in repeats))


def _score(kept: Any) -> Score:
    value, detail = kept if isinstance(kept, list) else (kept, {})
    return Score(None if value is None else float(value), dict(detail))


def _error_text(error: Exception) -> str:
    return f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else str(error)
