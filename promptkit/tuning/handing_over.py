"""What a tuning found, handed to the person: written as files, and in the run's record."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from promptkit.errors import InputError, PromptkitError
from promptkit.tuning.diff import stable_name
from promptkit.tuning.write import SHOWN, draft, kept_files, write

if TYPE_CHECKING:
    from promptkit.evaluation import Suite
    from promptkit.storage import Store
    from promptkit.tuning.candidate import Candidate
    from promptkit.tuning.work import Tuned
    from promptkit.tuning.write import Draft

WIDTH: Final = 110


def hand_over(tuned: Tuned, suite: Suite, store: Store, *, in_place: bool = False, writing: bool = True) -> Tuned:
    """Write what a tuning found worth it, and return it with the diff and the files in its record, which is kept.

    With `in_place` the original is replaced where the pick is shown to be better; else it stays, and a copy is written
    beside it. Without `writing` there is the diff alone. What cannot be written is the result's failure; the record has
    the candidate all the same.
    """
    if tuned.chosen is None:
        return tuned
    shown = tuned.record["verdict"] == "improved"
    record = dict(tuned.record)
    if in_place and not shown:
        record["notes"] = [*record["notes"], "the original stays: nothing was shown to be better than it"]
    failure = tuned.failure
    try:
        drafted = _drafted(tuned.chosen, suite, record, in_place=in_place and shown)
        record |= {"diff": drafted.diff, "applied": drafted.in_place and writing}
        if in_place and shown and not drafted.in_place:
            told = "the prompt stays, for it cannot extend itself: the pipeline that is written has its changes"
            record["notes"] = [*record["notes"], told]
        if writing:
            record["written"] = [stable_name(file, suite.project) for file in write(drafted)]
    except PromptkitError as error:
        why = [each.message for each in error.problems] if isinstance(error, InputError) else [error.message]
        record |= {"applied": False, "notes": [*record["notes"], f"nothing is written: {'; '.join(why)}"]}
        failure = failure or error
    store.end_run(tuned.number, tuned.status, record)
    return replace(tuned, record=record, failure=failure)


def _drafted(chosen: Candidate, suite: Suite, record: Mapping[str, Any], *, in_place: bool) -> Draft:
    project, target = suite.project, suite.wanted.target
    about = list(heading(record))
    kept = kept_files(target, project, improved=record["verdict"] == "improved")
    return draft(target, chosen, project, sets=suite.wanted.sets, about=about, in_place=in_place, kept=kept)


def heading(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that a tuned file begins with: on which model it was found, by what, and what was shown."""
    digest = str(record["model"].get("digest") or "").removeprefix("sha256:")[:12]
    model = " ".join(filter(None, (plain_reference(record["model"]["reference"]), digest)))
    how = f"Suite {record['suite']}, optimizer {record['optimizer']}, seed {record['seed']}, {record['calls']} calls"
    yield f"{how}, on {model}."
    found = record["difference"]
    said = (
        f" ({found['mean']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}] on {found['n']} {found['unit']}s)"
        if found
        else ""
    )
    verdict = SHOWN if record["verdict"] == "improved" else f"{record['verdict']} by"
    told = f"{verdict} {record['metric']['name']}{said}: {record['why']}."
    yield from textwrap.wrap(told, WIDTH)


def plain_reference(reference: str) -> str:
    """Return a model's reference without the folder or the server that it names: these are the machine's."""
    kind, colon, path = reference.partition(":")
    if colon and "/" in path and "/" not in kind:
        return f"{kind}:{path.rpartition('/')[2]}"
    return reference.partition("@")[0]
