"""Main effects of a matrix: a table like that of comparisons, and notes on effects that depend on other keys."""

from __future__ import annotations

from collections.abc import Iterator
from math import log

from rich.text import Text

from promptkit.evaluation.record import EvalRecord, InteractionRecord, MainEffectRecord, MetricRecord
from promptkit.reports.evaluation.comparisons import SIGNIFICANCE, comparison_grid, margin_notes
from promptkit.reports.evaluation.figures import difference_decimals, difference_parts, difference_unit, p_text
from promptkit.reports.layout import paragraph
from promptkit.reports.text import visible

MISLEADING_DEVIATION = 0.25
"""The share of an average effect by which it deviates under some settings, from which a note says so."""


def main_effect_lines(record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield each value of the matrix against its key's first one, averaged over the other keys; nothing without any."""
    if not record.main_effects:
        return
    for line in paragraph(visible(main_effects_title(record)), width=width):
        yield Text(line, style="bold")
    rows = [(effect_name(found), found) for found in record.main_effects]
    yield from comparison_grid(rows, record.variants[0].metrics, width)


def main_effects_title(record: EvalRecord) -> str:
    """Return the title of main effects: `main effects against layout=xml, averaged over the other keys`."""
    firsts = dict.fromkeys(f"{_short_key(found)}={found.first}" for found in record.main_effects)
    return f"main effects against {', '.join(firsts)}, averaged over the other keys"


def effect_name(found: MainEffectRecord) -> str:
    """Return the name of a main effect: `layout=xml`, without the step of its key."""
    return f"{_short_key(found)}={found.value}"


def _short_key(found: MainEffectRecord) -> str:
    return found.key.rpartition(".")[2]


def main_effect_notes(record: EvalRecord) -> Iterator[str]:
    """Yield the effects that clearly depend on the other keys, and the notes of their differences."""
    if not record.main_effects:
        return
    metrics = record.variants[0].metrics
    for found in record.main_effects:
        of = f"{found.metric}, {effect_name(found)}"
        if found.interaction is not None and _is_misleading(found, found.interaction):
            yield f"{of}: {_interaction_text(metrics[found.metric], found, found.interaction)}"
        yield from (f"{of}: {line}" for line in found.notes)
    yield from margin_notes([(effect_name(found), found) for found in record.main_effects], metrics)
    family = max(found.comparisons for found in record.main_effects)
    if family > 1:
        yield f"each metric's {family} main effects are adjusted as comparisons are (Holm, Bonferroni)"


def _is_misleading(found: MainEffectRecord, interaction: InteractionRecord) -> bool:
    """Tell whether an effect clearly depends on other keys, by more than a share of its average."""
    if found.difference is None or interaction.adjusted is None or interaction.adjusted > SIGNIFICANCE:
        return False
    there, mean = float(interaction.difference), float(found.difference)
    if found.is_ratio:
        there, mean = log(there), log(mean)
    return abs(there - mean) > MISLEADING_DEVIATION * abs(mean)


def _interaction_text(metric: MetricRecord, found: MainEffectRecord, interaction: InteractionRecord) -> str:
    decimals = difference_decimals(metric, [found])
    there = found.model_copy(update={"difference": interaction.difference, "low": None, "high": None})
    unit = " points" if difference_unit(metric, found) == "points" else ""
    value, mean = (difference_parts(metric, one, decimals)[0] for one in (there, found))
    settings = ", ".join(f"{name}={value}" for name, value in interaction.settings.items())
    return (
        f"depends on the other keys: {value}{unit} where {settings}, {mean} on average "
        f"(p {p_text(interaction.adjusted)}); read the variants, not this average"
    )
