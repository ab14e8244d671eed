"""The score of each variant by what a row costs, with the front of those that no other dominates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from promptkit.evaluation.record import EvalRecord, VariantRecord
from promptkit.reports.evaluation.figures import metric_decimals, metric_parts
from promptkit.reports.evaluation.plots import MOST_LINES, POINT, PlotRow, figure_lines
from promptkit.reports.evaluation.variants import variant_tags
from promptkit.reports.layout import cell_width, paragraph

FEWEST_VARIANTS = 3
"""The fewest variants of which scores are shown by their cost."""
DOMINATED_POINT = "○"


def front_lines(record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield the score of each variant by what a row costs, cheapest first, with those that others dominate.

    Nothing for two variants, where all cost the same, and where no cost can be compared between them.
    """
    variants = [variant for variant in record.variants if variant.answers and _score(variant) is not None]
    costs = variant_costs(variants)
    axis = next(iter(costs), None)
    if len(variants) < FEWEST_VARIANTS or axis is None or len(set(costs[axis])) == 1:
        return
    names = _names(variants, variant_tags(record.variants, width))
    dominated = dominated_variants(variants, costs)
    rows = [
        PlotRow(name, cost, point=DOMINATED_POINT if is_dominated else POINT)
        for name, cost, is_dominated in zip(names, costs[axis], dominated, strict=True)
    ]
    rows.sort(key=lambda row: row.value or 0.0)
    metric = next(iter(record.variants[0].metrics))
    yield from figure_lines(f"{metric} by {axis} of a row", rows[:MOST_LINES], width, least=0.0)
    *first, last = costs
    by = f"mean, {', '.join(first)} and {last}" if first else f"mean and {last}"
    legend = f"{POINT} on the front   {DOMINATED_POINT} dominated by another in {by}"
    for line in paragraph(legend, width=width, first="  ", rest="  "):
        yield Text(line, style="dim")


def _names(variants: Sequence[VariantRecord], tags: Mapping[str, str]) -> list[str]:
    """Return the name of each variant with its score, both aligned."""
    metrics = [next(iter(variant.metrics.values())) for variant in variants]
    scores = [metric_parts(metric, metric_decimals(metrics))[0] for metric in metrics]
    names = [tags[variant.name] for variant in variants]
    widest, longest = max(map(cell_width, names)), max(map(len, scores))
    return [
        f"{name}{' ' * (widest - cell_width(name))}  {score:>{longest}}"
        for name, score in zip(names, scores, strict=True)
    ]


def _score(variant: VariantRecord) -> float | None:
    """Return the mean of a primary metric with bounds, the higher the better; an amount is no score."""
    metric = next(iter(variant.metrics.values()))
    if metric.mean is None or metric.bounds is None:
        return None
    return float(metric.mean) if metric.higher_is_better else -float(metric.mean)


def variant_costs(variants: Sequence[VariantRecord]) -> dict[str, list[float]]:
    """Return the costs of a row of each variant, by the names of costs that can be compared between them.

    Tokens of two models are different units, and seconds were measured together only where no reply was cached.
    """
    costs: dict[str, list[float]] = {}
    if len({_models(variant) for variant in variants}) == 1:
        costs["tokens"] = [(variant.tokens_in + variant.tokens_out) / variant.answers for variant in variants]
    if all(variant.cost is not None for variant in variants):
        costs["cost"] = [float(variant.cost or 0) / variant.answers for variant in variants]
    if not any(variant.cached for variant in variants):
        costs["seconds"] = [float(variant.seconds) / variant.answers for variant in variants]
    if costs:
        costs["calls"] = [variant.calls / variant.answers for variant in variants]
    return costs


def _models(variant: VariantRecord) -> tuple[str, ...]:
    """Return the models that a variant sets, for all steps or for one."""
    return tuple(f"{key}={value}" for key, value in variant.sets.items() if key.rpartition(".")[2] == "model")


def dominated_variants(variants: Sequence[VariantRecord], costs: Mapping[str, Sequence[float]]) -> list[bool]:
    """Return for each variant whether another has no lower score at no higher cost, and is better in one of these."""
    points = [(_score(variant) or 0.0, *(-some[at] for some in costs.values())) for at, variant in enumerate(variants)]
    return [any(_dominates(other, point) for other in points) for point in points]


def _dominates(other: Sequence[float], point: Sequence[float]) -> bool:
    return other != point and all(theirs >= ours for theirs, ours in zip(other, point, strict=True))
