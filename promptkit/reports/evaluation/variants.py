"""Variants of an evaluation: their metrics, what they cost, and settings that their models did not support."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from promptkit.engine.requirements import Fallback
from promptkit.evaluation.record import EvalRecord, MetricRecord, VariantRecord
from promptkit.reports.evaluation.figures import metric_decimals, metric_parts
from promptkit.reports.layout import GAP, TableCell, cell_width, column_width, grid, paragraph
from promptkit.reports.text import seconds_text, visible
from promptkit.techniques.warnings import in_table_order, merged_sources, warning_text

NAME_SHARE = 0.3
"""The share of the width above which a variant's name is too long for tables."""

Variants = Sequence[VariantRecord]


def metric_lines(variants: Variants, width: int, *, mark: str = "", whole: bool = True) -> Iterator[Text]:
    """Yield each metric of each variant with its 95 % interval, in as many tables as fit the width, and notes on rows.

    `mark` stands in the head, to qualify the intervals. Without `whole` only the first table is shown.
    """
    names = list(variants[0].metrics)
    if len(variants) == 1:
        yield from _single_variant(variants[0], names, width, mark)
        return
    tags = variant_tags(variants, width)
    first: list[TableCell] = [_tagged_name(variant.name, tags) for variant in variants]
    rest: list[TableCell] = [tags[variant.name] for variant in variants]
    columns: list[list[TableCell]] = [
        *_metric_columns(names[0], variants),
        *(next(_metric_columns(name, variants)) for name in names[1:]),
    ]
    if any(notes := [row_note(variant, tags) for variant in variants]):
        columns.append(["", *((note, "yellow") for note in notes)])
    for number, group in enumerate(column_groups(columns, [mark, *first], [mark, *rest], width)):
        if number and not whole:
            return
        if number:
            yield Text()
        yield from _table([mark, *(rest if number else first)], group, width)


def variant_tags(variants: Variants, width: int) -> dict[str, str]:
    """Return the name of each variant in tables: its own, or `#1`, `#2`, … where one is long."""
    names = [variant.name for variant in variants]
    if len(names) == 1 or max(map(cell_width, names)) <= NAME_SHARE * width:
        return {name: name for name in names}
    return {name: f"#{number}" for number, name in enumerate(names, 1)}


def _tagged_name(name: str, tags: Mapping[str, str]) -> str:
    return name if tags[name] == name else f"{tags[name]} {name}"


def _table(first: Sequence[TableCell], columns: Sequence[Sequence[TableCell]], width: int) -> list[Text]:
    """Return columns, each with its head at the top, beside the first one."""
    head, *rows = zip(first, *columns, strict=True)
    heads: list[TableCell] = [(str(head[0]), "dim"), *((str(name), "bold") for name in head[1:])]
    return grid([heads, *rows], right=range(1, len(heads)), width=width)


def column_groups(
    columns: Sequence[Sequence[TableCell]], first: Sequence[TableCell], rest: Sequence[TableCell], width: int
) -> Iterator[list[Sequence[TableCell]]]:
    """Yield the columns in groups that fit the width beside the first column, at least one in each."""
    group: list[Sequence[TableCell]] = []
    left = width - column_width(first)
    for column in columns:
        needed = GAP + column_width(column)
        if group and needed > left:
            yield group
            group, left = [], width - column_width(rest)
        group.append(column)
        left -= needed
    yield group


def _single_variant(variant: VariantRecord, names: Sequence[str], width: int, mark: str) -> Iterator[Text]:
    rows: list[list[TableCell]] = [[(mark, "dim"), "", "", ""]] if mark else []
    for name in names:
        metric = variant.metrics[name]
        value, interval = metric_parts(metric)
        of_parsed = "" if metric.of_parsed is None else f"of parsed {_of_parsed(metric)}"
        rows.append([_head(name, metric), (value, "bold"), interval, (of_parsed, "dim")])
    yield from grid(rows, right=(1,), width=width)


def _metric_columns(name: str, variants: Variants) -> Iterator[list[TableCell]]:
    """Yield a metric's head and cells; then, where some answers do not parse, its values among those that do."""
    metrics = [variant.metrics[name] for variant in variants]
    decimals = metric_decimals(metrics)
    parts = [metric_parts(metric, decimals) for metric in metrics]
    widths = [max(len(part) for part in column) for column in zip(*parts, strict=True)]
    cells = [f"{value:>{widths[0]}} {interval:<{widths[1]}}" if widths[1] else value for value, interval in parts]
    yield [_head(name, metrics[0]), *cells]
    if any(metric.of_parsed is not None for metric in metrics):
        yield ["of parsed", *(_of_parsed(metric, decimals) for metric in metrics)]


def _of_parsed(metric: MetricRecord, decimals: int | None = None) -> str:
    """Return a metric's mean among the answers that parse, which is its mean where all do."""
    mean = metric.mean if metric.of_parsed is None else metric.of_parsed
    places = metric_decimals([metric]) if decimals is None else decimals
    return metric_parts(metric.model_copy(update={"mean": mean, "low": None, "high": None}), places)[0]


def _head(name: str, metric: MetricRecord) -> str:
    of = metric.parts.get("mean_is")
    return f"{name} ({of})" if of else name


def spent_lines(variants: Variants, width: int) -> Iterator[Text]:
    """Yield the number of answers of each variant and their cost, without empty columns."""
    columns: list[list[TableCell]] = [
        ["answers", *map(_answers, variants)],
        ["unparsed", *(_flag_count(variant, variant.unparsed) for variant in variants)],
        ["cut off", *(_flag_count(variant, variant.truncated) for variant in variants)],
        ["calls", *(f"{variant.calls:,}" for variant in variants)],
        ["cached", *(f"{variant.cached:,}" if variant.cached else "" for variant in variants)],
        ["tokens in", *(f"{variant.tokens_in:,}" for variant in variants)],
        ["out", *(f"{variant.tokens_out:,}" for variant in variants)],
        ["time", *(seconds_text(variant.seconds) for variant in variants)],
        ["cost", *("" if variant.cost is None else cost_text(variant.cost) for variant in variants)],
    ]
    filled = [column for column in columns if any(column[1:])]
    tags = variant_tags(variants, width)
    names: list[TableCell] = ["", *(tags[variant.name] if len(variants) > 1 else "" for variant in variants)]
    for number, group in enumerate(column_groups(filled, names, names, width)):
        if number:
            yield Text()
        head, *rows = zip(*(group if len(variants) == 1 else [names, *group]), strict=True)
        right = range(len(variants) > 1, len(head))
        yield from grid([[(str(name), "dim") for name in head], *rows], right=right, width=width)


def row_note(variant: VariantRecord, tags: Mapping[str, str]) -> str:
    """Return a few words on a variant that did not run as its settings say, or sent the same requests as another."""
    notes = ["fell back"] if variant.fallbacks else []
    notes += [f"requests of {tags.get(variant.same_as, variant.same_as)}"] if variant.same_as else []
    return ", ".join(notes)


def warning_lines(variants: Variants, width: int) -> Iterator[Text]:
    """Yield the number of answers of each variant with each warning that occurred, and in which steps where there are
    several."""
    counts = warning_counts(variants)
    if not counts:
        return
    tags = variant_tags(variants, width)
    warned_by = merged_sources(variant.warned_by for variant in variants)
    first: list[TableCell] = ["", *(warning_text(name, warned_by) for name in counts)]
    columns: list[list[TableCell]] = [
        [tags[variant.name] if len(variants) > 1 else "", *((found[at], "yellow") for found in counts.values())]
        for at, variant in enumerate(variants)
    ]
    if len(variants) == 1 and variants[0].step_warnings:
        columns.append(["", *((_by_step(variants[0], name), "dim") for name in counts)])
    for number, group in enumerate(column_groups(columns, first, first, width)):
        if number:
            yield Text()
        head, *rows = zip(first, *group, strict=True)
        heads: list[list[TableCell]] = [[(str(name), "dim") for name in head]] if len(variants) > 1 else []
        yield from grid([*heads, *rows], right=range(1, 1 + min(len(group), len(variants))), width=width)


def warning_counts(variants: Variants) -> dict[str, list[str]]:
    """Return for each warning that occurred how many answers of each variant have it: `12 of 60`, empty for none.

    They are counted among the answers whose warnings were recorded.
    """
    return counts_by_warning([(variant.warnings, variant.recorded) for variant in variants])


def counts_by_warning(sides: Sequence[tuple[Mapping[str, int], int]]) -> dict[str, list[str]]:
    """Return a text for each warning and side: `12 of 60`, empty for none. A side is its counts, and of how many."""
    names = in_table_order(Counter(name for counts, _ in sides for name in counts))
    return {name: [f"{counts[name]:,} of {of:,}" if name in counts else "" for counts, of in sides] for name in names}


def _by_step(variant: VariantRecord, name: str) -> str:
    counts = {step: found[name] for step, found in variant.step_warnings.items() if name in found}
    return ", ".join(f"{visible(step)} {count:,}" for step, count in counts.items())


def unrecorded_notes(variants: Variants, tags: Mapping[str, str]) -> Iterator[str]:
    """Yield the number of answers that were kept without their warnings."""
    for variant in variants:
        if unrecorded := variant.answers - variant.recorded:
            of = f" ({tags[variant.name]})" if len(variants) > 1 else ""
            yield f"warnings{of}: not recorded for {unrecorded:,} of {variant.answers:,} answers, of an older promptkit"


def _answers(variant: VariantRecord) -> TableCell:
    """Return the number of cells with an answer, and of all where some have none."""
    cases, missing = variant.cases, variant.missing
    return (f"{cases - missing:,} of {cases:,}", "bold red") if missing else f"{cases:,}"


def _flag_count(variant: VariantRecord, count: int) -> TableCell:
    """Return the number of answers that cannot be read, with their share where it is not 0."""
    if not count:
        return "0"
    answers = variant.cases - variant.missing
    share = f"{100 * count / answers:.0f} %" if count >= answers / 100 else "<1 %"
    return f"{count:,} ({share})", "yellow"


def cost_text(cost: float) -> str:
    """Return a cost to a tenth of a thousandth, to the cent from 10 on."""
    return f"{cost:,.2f}" if cost >= 10 else f"{cost:.4f}"


def metric_notes(variants: Variants, tags: Mapping[str, str]) -> Iterator[str]:
    """Yield each note once, with its metrics and, unless all variants have it, its variants."""
    of: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name in variants[0].metrics:
        notes = dict.fromkeys(line for variant in variants for line in variant.metrics[name].notes)
        for line in notes:
            names = tuple(tags[variant.name] for variant in variants if line in variant.metrics[name].notes)
            of.setdefault((line, names), []).append(name)
    for (line, names), metrics in of.items():
        of_some = "" if len(names) == len(variants) else f" ({', '.join(names)})"
        yield f"{', '.join(metrics)}{of_some}: {line}"
    for name in variants[0].metrics:
        yield from _unscored(name, variants, tags)


def _unscored(name: str, variants: Variants, tags: Mapping[str, str]) -> Iterator[str]:
    """Yield the variants of which some answers have no score: a metric or its judge failed."""
    for variant in variants:
        if unscored := variant.metrics[name].unscored:
            answered = variant.cases - variant.missing
            of = f" ({tags[variant.name]})" if len(variants) > 1 else ""
            yield f"{name}{of}: {unscored:,} of {answered:,} answers have no score"


def fallback_lines(record: EvalRecord, width: int) -> Iterator[Text]:
    """Yield the settings that variants did not run with, and the pairs of variants that sent the same requests."""
    for text in fallback_notes(record, variant_tags(record.variants, width)):
        for at, line in enumerate(paragraph(visible(text), width=width - 2)):
            yield Text(("  " if at else "! ") + line, style="yellow")


def fallback_notes(record: EvalRecord, tags: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield a sentence for each fallback, with its variants, and for each pair that sent the same requests."""
    tags = tags or {variant.name: variant.name for variant in record.variants}
    of: dict[Fallback, list[str]] = {}
    for variant in record.variants:
        for fallback in variant.fallbacks:
            of.setdefault(fallback, []).append(variant.name)
    for fallback, names in of.items():
        prefix = "" if len(record.variants) == 1 else f"{', '.join(tags[name] for name in names)}: "
        yield f"{prefix}{fallback}"
    same = dict.fromkeys((comparison.b, comparison.a) for comparison in record.comparisons if comparison.same_requests)
    same |= dict.fromkeys((variant.same_as, variant.name) for variant in record.variants if variant.same_as)
    for earlier, later in same:
        yield f"{tags[later]} and {tags[earlier]}: the two sent the same requests"
