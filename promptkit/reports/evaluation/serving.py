"""Serving in an evaluation's report: each variant at each concurrency, and its ratios to the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.text import Text

from promptkit.evaluation.record import (
    DifferenceRecord,
    MetricRecord,
    ServingComparison,
    ServingFigure,
    ServingLevel,
    ServingRecord,
    VariantRecord,
)
from promptkit.evaluation.serving.figures import FIGURES
from promptkit.reports.evaluation.comparisons import VERDICT_STYLES
from promptkit.reports.evaluation.figures import difference_parts, metric_decimals, metric_parts
from promptkit.reports.evaluation.variants import column_groups, variant_tags
from promptkit.reports.layout import TableCell, grid, paragraph, shortened
from promptkit.reports.text import size_text, visible

SHOWN: Mapping[str, str] = {
    "first_token": "first token",
    "tokens_per_second": "tokens/s",
    "throughput": "throughput",
    "latency": "latency",
    "rows_per_second": "rows/s",
    "prompt_tokens_per_second": "prompt tokens/s",
}
"""The figures of the table, with their heads; `--json` and the page have the others too."""
WITH_P95 = ("first_token", "latency")
COMPARED = ("first_token", "tokens_per_second", "throughput", "latency")
"""The figures whose ratios are shown; the others follow from these."""


def serving_lines(serving: ServingRecord | None, variants: Sequence[VariantRecord], width: int) -> Iterator[Text]:
    """Yield the figures, the ratios to the first variant, and the notes on both; nothing where none was measured."""
    if serving is None:
        return
    tags = variant_tags(variants, width)
    rounds = f"serving in {serving.rounds} rounds, medians with 95 % intervals"
    yield Text(rounds, style="bold")
    yield from _level_lines(serving.levels, tags, width)
    yield from _memory_lines(serving, tags, width)
    if serving.comparisons:
        yield Text()
        yield from _comparison_lines(serving.comparisons, tags, width)
    for note in serving_notes(serving):
        for at, line in enumerate(paragraph(visible(note), width=width - 2)):
            yield Text(("  " if at else "· ") + line, style="dim")


def served_runs_lines(
    sides: Sequence[tuple[str, Sequence[ServingLevel]]], width: int, *, is_one_run: bool
) -> Iterator[Text]:
    """Yield the serving of both sides of a comparison, each with its name, where both were measured.

    There is no verdict: at different times the machine may have been another. The report of one run has the ratios.
    """
    if not all(levels for _, levels in sides):
        return
    why = "`promptkit runs show` has the ratios" if is_one_run else "measured at different times, so without a verdict"
    yield Text(f"serving: {why}", style="bold")
    named = [level.model_copy(update={"variant": name}) for name, levels in sides for level in levels]
    named.sort(key=lambda level: level.concurrency)
    yield from _level_lines(named, {name: name for name, _ in sides}, width)


def _level_lines(levels: Sequence[ServingLevel], tags: Mapping[str, str], width: int) -> Iterator[Text]:
    digits = max(len(str(level.concurrency)) for level in levels)
    several = len(tags) > 1
    first: list[TableCell] = ["concurrent"]
    first += [
        f"{level.concurrency:>{digits}}" + (f"  {tags.get(level.variant, level.variant)}" if several else "")
        for level in levels
    ]
    columns: list[list[TableCell]] = []
    for name, head in SHOWN.items():
        figures = [level.figures.get(name, ServingFigure()) for level in levels]
        if any(figure.value is not None for figure in figures):
            columns.append([head, *_cells(name, figures)])
            if name in WITH_P95:
                columns.append(["p95", *_upper_cells(name, figures)])
    if any(level.errors for level in levels):
        columns.append(["failed", *((f"{level.errors} of {level.rows}", "bold red") for level in levels)])
    for number, group in enumerate(column_groups(columns, first, first, width - 2)):
        if number:
            yield Text()
        heads, *rows = zip(first, *group, strict=True)
        shown: list[TableCell] = [(str(name), "dim") for name in heads]
        yield from grid([shown, *rows], right=range(1, len(heads)), width=width, indent=2)


def _cells(name: str, figures: Sequence[ServingFigure]) -> list[str]:
    """Return values with their intervals, in as many decimals as the narrowest interval supports."""
    metrics = [figure_metric(name, figure) for figure in figures]
    decimals = metric_decimals(metrics)
    parts = [metric_parts(metric, decimals) for metric in metrics]
    value, interval = (max(map(len, column)) for column in zip(*parts, strict=True))
    return [f"{shown:>{value}} {ends:<{interval}}".rstrip() if interval else shown for shown, ends in parts]


def _upper_cells(name: str, figures: Sequence[ServingFigure]) -> list[str]:
    """Return the 95th percentiles, in the decimals of the values beside them."""
    decimals = metric_decimals(figure_metric(name, figure) for figure in figures)
    upper = [figure_metric(name, ServingFigure(value=figure.p95)) for figure in figures]
    return [metric_parts(metric, decimals)[0] for metric in upper]


def figure_metric(name: str, figure: ServingFigure) -> MetricRecord:
    """Return a figure as a metric, by whose rules it is written."""
    kind = "latency" if FIGURES[name].unit == "s" else "tokens"
    return MetricRecord(kind=kind, mean=figure.value, low=figure.low, high=figure.high)


def _memory_lines(serving: ServingRecord, tags: Mapping[str, str], width: int) -> Iterator[Text]:
    known = [model for model in serving.models if model.memory is not None]
    texts = []
    for model in known:
        gpu = f", {size_text(model.gpu_memory)} of it on a GPU" if model.gpu_memory else ""
        name = f"{tags.get(model.variant, model.variant)} " if len(tags) > 1 else ""
        texts.append(f"{name}{size_text(model.memory or 0)}{gpu}")
    for line in paragraph(visible(f"memory: {'; '.join(texts)}"), width=width - 2) if texts else ():
        yield Text(f"  {line}")


def _comparison_lines(comparisons: Sequence[ServingComparison], tags: Mapping[str, str], width: int) -> Iterator[Text]:
    others = list(dict.fromkeys(comparison.a for comparison in comparisons))
    who = f"{tags.get(others[0], others[0])} against " if len(others) == 1 else "against "
    baseline = comparisons[0].b
    yield Text(shortened(f"{visible(who + tags.get(baseline, baseline))} in the same rounds", width), style="bold")
    rows: list[list[TableCell]] = [[(name, "dim") for name in ("", "concurrent", "ratio", "", "")]]
    for name in COMPARED:
        for comparison in comparisons:
            if comparison.figure == name:
                tag = f", {tags.get(comparison.a, comparison.a)}" if len(others) > 1 else ""
                value, interval = ratio_parts(comparison)
                verdict = comparison.verdict
                rows.append(
                    [
                        SHOWN[name] + tag,
                        str(comparison.concurrency),
                        (value, "bold"),
                        interval,
                        (verdict, VERDICT_STYLES.get(verdict, "")),
                    ]
                )
    yield from grid(rows, right=(1, 2), width=width, indent=2)


class ServingTable(NamedTuple):
    """Serving as the page shows it: a cell is a value, its interval and its 95th percentile, each empty without one."""

    rounds: int
    heads: tuple[str, ...]
    levels: list[tuple[ServingLevel, list[tuple[str, str, str]]]]
    comparisons: list[tuple[ServingComparison, str, str]]
    names: Mapping[str, str]
    meanings: list[str]
    notes: list[str]


def serving_table(serving: ServingRecord) -> ServingTable:
    """Return every figure of a measurement, and the ratios of those that decide, as texts."""
    names = {name: SHOWN.get(name, name.replace("_", " ")) for name in FIGURES}
    known = ((model.variant, model.memory) for model in serving.models)
    memory = [f"memory of `{name}`: {size_text(size)}" for name, size in known if size is not None]
    return ServingTable(
        rounds=serving.rounds,
        heads=tuple(names.values()),
        levels=[(level, [_page_cell(name, level) for name in FIGURES]) for level in serving.levels],
        comparisons=[
            (comparison, *ratio_parts(comparison))
            for comparison in serving.comparisons
            if comparison.figure in COMPARED
        ],
        names=names,
        meanings=[f"{names[name]}: {kind.about}" for name, kind in FIGURES.items()],
        notes=[*memory, *serving_notes(serving)],
    )


def _page_cell(name: str, level: ServingLevel) -> tuple[str, str, str]:
    figure = level.figures.get(name, ServingFigure())
    value, interval = metric_parts(figure_metric(name, figure))
    return value, interval, "" if figure.p95 is None else _upper_cells(name, [figure])[0]


def ratio_parts(comparison: ServingComparison) -> tuple[str, str]:
    """Return a ratio and its interval: `×1.31`, `[1.28, 1.34]`."""
    found = DifferenceRecord(difference=comparison.ratio, low=comparison.low, high=comparison.high, is_ratio=True)
    return difference_parts(figure_metric(comparison.figure, ServingFigure()), found)


def serving_notes(serving: ServingRecord) -> Iterator[str]:
    """Yield the notes of a measurement, and the reasons for figures that it lacks."""
    yield from serving.notes
    for name, head in SHOWN.items():
        lacking = [level for level in serving.levels if level.figures.get(name, ServingFigure()).lack]
        if lacking:
            variants = dict.fromkeys(level.variant for level in lacking)
            of = "" if len(lacking) == len(serving.levels) else f" of {', '.join(f'`{name}`' for name in variants)}"
            yield f"no {head}{of}: {lacking[0].figures[name].lack}"
