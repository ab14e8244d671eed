"""The HTML page of a tuning run: its report, a plot of score against tokens, and all candidates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from promptkit.reports.evaluation.figures import metric_parts
from promptkit.reports.page.html import NONE, BarPlaces, Ends, asset, bar_places, policy, scale, templates
from promptkit.reports.tuning.advice import advice, legend
from promptkit.reports.tuning.contributions import contribution_notes, measured_on, taken_back_texts
from promptkit.reports.tuning.curve import make_curve
from promptkit.reports.tuning.evidence import OPTIMISTIC, forest_rows
from promptkit.reports.tuning.report import (
    best_name,
    choices_text,
    compared_sides,
    difference_text,
    holdout_text,
    spent_text,
    verdict_reasons,
    written_texts,
)
from promptkit.reports.tuning.scatter import make_plot
from promptkit.reports.tuning.turned import turned_rows, turned_texts, turned_title
from promptkit.reports.tuning.weights import weights_texts
from promptkit.storage.files import write_private
from promptkit.tuning.tune_record import (
    AblationRecord,
    CandidateRecord,
    EstimateRecord,
    ObjectiveRecord,
    SplitMean,
    TuneRecord,
)

_LINES = {"+++": "file", "---": "file", "@@": "place", "+": "added", "-": "removed"}


def write_tuning_page(record: TuneRecord, path: Path) -> None:
    """Write a tuning run as one page, which loads nothing from a network. Raises StoreFailed."""
    write_private(path, tuning_page(record))


def tuning_page(record: TuneRecord) -> str:
    """Return the page."""
    style = asset("page", "page.css") + asset("tuning", "page.css")
    found = record.difference
    changed = f": {difference_text(record, found)}" if found is not None else ""
    return (
        templates()
        .get_template("tuning/page.html")
        .render(
            policy=policy(style),
            style=Markup(style),
            record=record,
            status_chips=list(_chips(record)),
            spent=spent_text(record),
            verdict=f"{record.verdict}{changed}{holdout_text(found)}{record.verdict_limit}",
            reasons=list(verdict_reasons(record)),
            weights=list(weights_texts(record)),
            sides=_sides(record),
            changes=_changes(record),
            contribution_notes=[*contribution_notes(record), *taken_back_texts(record)],
            written=list(written_texts(record)),
            diff=[(_line_kind(line), line) for line in record.diff.splitlines()],
            plot=make_plot(record),
            curve=make_curve(record),
            differences=_differences(record),
            optimistic=OPTIMISTIC,
            turned_title=turned_title(record),
            turned=[turned_texts(row) for row in turned_rows(record)],
            turned_more=record.turned.better + record.turned.worse - len(record.turned.rows),
            advice=list(advice(record)),
            legend=legend(record),
            candidates=_candidates(record),
        )
    )


def _chips(record: TuneRecord) -> Iterator[tuple[str, str]]:
    yield "good" if record.verdict == "improved" else "warn", record.verdict
    yield "good" if record.status == "done" else "bad", record.status
    if record.stopped_by != "done":
        yield "warn", f"stopped by {record.stopped_by}"


def _line_kind(line: str) -> str:
    """Return the class of a line of a unified diff."""
    return next((kind for start, kind in _LINES.items() if line.startswith(start)), "")


class ShownMean(NamedTuple):
    """A mean with its interval, of how many rows it is, and its drawing."""

    value: str
    interval: str
    n: int | None
    places: BarPlaces | None
    kind: str


class Side(NamedTuple):
    """The start, the incumbent, its prompt without weights or the constant answer.

    With its means on holdout and search rows.
    """

    name: str
    confirm: ShownMean | None
    search: ShownMean | None


def _sides(record: TuneRecord) -> list[Side]:
    sides = compared_sides(record, f"{best_name(record)}: {choices_text(record)}")
    known = [mean for _, *means in sides for mean in means if mean is not None]
    ends = scale(value for mean in known for value in (mean.mean, mean.low, mean.high))
    return [
        Side(name, *(_mean(record.metric, mean, ends, kind) for mean in means))
        for (name, *means), kind in zip(sides, ("v7", "v2", "v5", "v4"), strict=False)
    ]


def _mean(metric: ObjectiveRecord, found: EstimateRecord | None, ends: Ends, kind: str) -> ShownMean | None:
    if found is None or found.mean is None:
        return None
    value, interval = metric_parts(metric.with_mean(found))
    n = found.n if isinstance(found, SplitMean) else None
    return ShownMean(value, interval, n, bar_places(found.mean, found.low, found.high, ends), kind)


class Change(NamedTuple):
    """A change of the incumbent, what it brought, and on which rows that was measured."""

    record: AblationRecord
    difference: str
    places: BarPlaces | None
    basis: str


def _changes(record: TuneRecord) -> list[Change]:
    ends = scale(
        (value for change in record.ablation for value in (change.difference, change.low, change.high)), around=0.0
    )
    return [
        Change(
            record=change,
            difference=NONE if change.difference is None else difference_text(record, change),
            places=bar_places(change.difference, change.low, change.high, ends),
            basis="; ".join(filter(None, (measured_on(change), change.skipped))),
        )
        for change in record.ablation
    ]


class ShownDifference(NamedTuple):
    """A row of the forest plot: its name, the rows that it is of, its difference as text, and its drawing."""

    name: str
    kind: str
    rows: str
    difference: str
    places: BarPlaces | None


def _differences(record: TuneRecord) -> list[ShownDifference]:
    """Return the rows of the forest plot on one axis."""
    found = forest_rows(record)
    ends = scale((value for row in found for value in (row.difference, row.low, row.high)), around=0.0)
    return [
        ShownDifference(
            name=row.name,
            kind={"verdict": "v2", "change": "v0"}.get(row.kind, "v7"),
            rows=f"{row.rows:,} {'search' if row.kind == 'candidate' else 'confirm'} rows",
            difference=difference_text(record, row),
            places=bar_places(row.difference, row.low, row.high, ends),
        )
        for row in found
    ]


class ShownCandidate(NamedTuple):
    """A candidate with its marks and its mean."""

    record: CandidateRecord
    marks: Sequence[str]
    mean: ShownMean | None


def _candidates(record: TuneRecord) -> list[ShownCandidate]:
    ends = scale(value for candidate in record.candidates for value in (candidate.mean, candidate.low, candidate.high))
    return [
        ShownCandidate(
            record=candidate,
            marks=[
                name
                for name, is_on in (
                    ("incumbent", candidate.pick),
                    ("start", candidate.start),
                    ("front", candidate.front),
                )
                if is_on
            ],
            mean=_mean(record.metric, candidate, ends, "v2" if candidate.pick else "v0"),
        )
        for candidate in record.candidates
    ]
