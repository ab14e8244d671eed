"""Baselines: an earlier run of a suite, or a small file of its scores that a repository keeps.

The file is a JSON object in which each row is a line of its own, so that a change of a few answers is a change of a few
lines:

    {"promptkit": "baseline", "version": 1,
    "suite": "sentiment",
    …
    "rows": [
    ["HASH OF THE ROW", [{"accuracy": [1.0, {"expected": "positive", "predicted": "positive"}], "chrf": 61.2}], "CASE"]
    ]}

A row's hash is followed by its repeats and by the hash of its inputs and expected answer, which older files lack. Each
repeat has a score by every metric, with the details that comparisons need.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from promptkit.errors import InputError, Problem, place
from promptkit.evaluation.comparison.run_rows import RunRows, ScoredRow, run_rows
from promptkit.evaluation.metrics.score import Score
from promptkit.evaluation.stored_run import KIND, StoredRun
from promptkit.storage.files import read_text
from promptkit.storage.records import reading_record
from promptkit.storage.store import Run, Store
from promptkit.storage.strict_json import parse_json

LATEST = 200
"""The most runs of a suite that are searched for `last`."""
HEADER = {"promptkit": "baseline", "version": 1}
LONGEST = 200
"""Longer texts in a score's details are for people: no comparison needs them."""

_RUN = re.compile(r"last(?:~([0-9]{1,9}))?|[0-9]{1,18}")
_HINT = "`promptkit runs export RUN --baseline FILE` makes one"


def names_run(text: str) -> bool:
    """Tell whether a text names a run rather than a file."""
    return _RUN.fullmatch(text) is not None


def find_baseline(text: str, suite: str, store: Store, *, folder: Path) -> RunRows | None:
    """Return the run or file that `text` names: a number, `last`, `last~1`, or a path relative to `folder`.

    `last` is the suite's newest run that is done and had all rows; None where there is none. Raises InputError for a
    number that no run has and for a file that is not a baseline, DamagedRecord for the number of a damaged run.
    """
    named = _RUN.fullmatch(text)
    if named is None:
        return read_baseline(folder / text)
    if not text.isdigit():
        return _last(store, suite, int(named[1] or 0))
    run = store.run(text, kind=KIND)
    if run is None:
        raise InputError(f"there is no run {text} of a suite", hint=_latest_hint(store, suite))
    return stored_baseline(store, run)


def stored_baseline(store: Store, run: Run) -> RunRows:
    """Return the first variant of a stored run. Raises InputError for a run that did not end, and DamagedRecord."""
    if run.status not in ("done", "incomplete"):
        raise InputError(f"run {run.number} is {run.status}: there is nothing to compare with yet")
    view = StoredRun(store, run)
    with reading_record(f"runs {run.number}, `record`"):
        return run_rows(view, view.variants[0], f"run {run.number}")


def _last(store: Store, suite: str, back: int) -> RunRows | None:
    runs = store.runs(kind=KIND, target=suite, limit=LATEST)
    suitable = (run for run in runs if run.status == "done" and not run.record.get("limited"))
    for run in islice(suitable, back, None):
        with store.damage.skipping():
            return stored_baseline(store, run)
    return None


def _latest_hint(store: Store, suite: str) -> str:
    numbers = [str(run.number) for run in store.runs(kind=KIND, target=suite, limit=5)]
    return f"the latest of `{suite}` are {', '.join(numbers)}" if numbers else f"`{suite}` has no runs yet"


def baseline_lines(run: StoredRun) -> Iterator[str]:
    """Yield the lines of a baseline file. Raises InputError for a run that is not done."""
    if run.status != "done":
        hint = "`promptkit eval SUITE --retry-errors` asks again what failed" if run.status == "incomplete" else None
        raise InputError(f"run {run.number} is {run.status}: a baseline has an answer to each row", hint=hint)
    rows, record = run_rows(run, run.variants[0], ""), run.record
    assert record is not None, "a run that is done has a record"
    head = {
        "suite": rows.suite,
        "target": record.target,
        "variant": rows.variant,
        "sets": record.variants[0].sets,
        "model": rows.model,
        "exact": rows.exact,
        "in_flight": rows.in_flight,
        "repeat": rows.repeat,
        "limited": record.limited,
        "made": rows.made,
        "metrics": {
            name: {"key": rows.keys[name], "mean": metric.mean, "n": metric.n}
            for name, metric in record.variants[0].metrics.items()
        },
    }
    yield _json(HEADER)[:-1]
    for key, value in head.items():
        yield f",\n{_json(key)}: {_json(value)}"
    between = ',\n"rows": [\n'
    for row in rows.read():
        yield between + _json([row.key.hex(), [_kept(row.scores.get(at, {})) for at in range(rows.repeat)], row.case])
        between = ",\n"
    yield "\n]}\n"


def _kept(scores: Mapping[str, Score]) -> dict[str, Any]:
    return {name: _kept_score(score) for name, score in scores.items()}


def _kept_score(score: Score) -> Any:
    detail = {
        key: value for key, value in score.detail.items() if not (isinstance(value, str) and len(value) > LONGEST)
    }
    return [score.value, detail] if detail else score.value


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def read_baseline(path: Path) -> RunRows:
    """Read a baseline file. Raises InputError for another file, and for one that is not whole."""
    text = read_text(path)
    file = str(place(path))
    try:
        record = parse_json(text)
        if not isinstance(record, dict) or {key: record.get(key) for key in HEADER} != HEADER:
            raise InputError(Problem("not a baseline of this version of promptkit", file, 1, hint=_HINT))
        repeat = int(record["repeat"])
        return _file_rows(record, file, [_row(repeat, *row) for row in record["rows"]])
    except json.JSONDecodeError as error:
        hint = "a merge left its marks here: make it again" if "<<<<<<<" in text else _HINT
        raise InputError(Problem(f"not JSON: {error.msg}", file, error.lineno, error.colno, hint=hint)) from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(Problem(f"not a whole baseline: {_error_text(error)}", file, hint=_HINT)) from None


def _file_rows(record: Mapping[str, Any], file: str, rows: Sequence[ScoredRow]) -> RunRows:
    model, in_flight = record["model"], record["in_flight"]
    return RunRows(
        name=file,
        suite=str(record["suite"]),
        variant=str(record.get("variant", "")),
        model={
            **{key: str(model[key]) for key in ("reference", "digest")},
            "others": {str(name): str(digest) for name, digest in dict(model.get("others", {})).items()},
        },
        exact=bool(record["exact"]),
        in_flight=None if in_flight is None else int(in_flight),
        repeat=int(record["repeat"]),
        rows=len(rows),
        made=str(record["made"]),
        keys={name: str(metric["key"]) for name, metric in record["metrics"].items()},
        read=lambda: rows,
    )


def _row(repeat: int, key: str, repeats: list[Mapping[str, Any]], case: str = "") -> ScoredRow:
    if len(repeats) != repeat:
        raise ValueError(f"a row has {len(repeats)} of {repeat} repeats")
    scores = {at: {name: _score(kept) for name, kept in of.items()} for at, of in enumerate(repeats)}
    return ScoredRow(key=bytes.fromhex(key), number=0, scores=scores, cells={}, fields={}, case=str(case))


def _score(kept: Any) -> Score:
    value, detail = kept if isinstance(kept, list) else (kept, {})
    return Score(None if value is None else float(value), dict(detail))


def _error_text(error: Exception) -> str:
    return f"`{error.args[0]}` is missing" if isinstance(error, KeyError) else str(error)
