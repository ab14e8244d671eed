"""Variants of an evaluation: their metrics, what they cost, and settings that their models did not support."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptkit.engine.requirements import Fallback
from promptkit.reports.evaluation.figures import metric_decimals, metric_parts
from promptkit.reports.layout import GAP, TableCell, cell_width, column_width, grid, paragraph
from promptkit.reports.text import seconds_text, visible

if TYPE_CHECKING:
    from rich.text import Text

NAME_SHARE = 0.3
"""The share of the width above which a name is long."""


def variant_tags(variants: Sequence[Mapping[str, Any]], width: int) -> dict[str, str]:
    """Return what each variant is called in tables: its name, or `#1`, `#2`, … where one is long."""
    names = [str(each["name"]) for each in variants]
    if len(names) == 1 or max(map(cell_width, names)) <= NAME_SHARE * width:
        return {name: name for name in names}
    return {name: f"#{number}" for number, name in enumerate(names, 1)}


Variants = Sequence[Mapping[str, Any]]


def metric_lines(variants: Variants, width: int, *, mark: str = "", whole: bool = True) -> Iterator[Text]:
    """Yield each metric of each variant with its 95 % interval, in as many tables as the width asks for.

    `mark` stands in the head: what the intervals are not to be taken for. Without `whole` the first table is all.
    """
    from rich.text import Text

    names = list(variants[0]["metrics"])
    if len(variants) == 1:
        yield from _single_variant(variants[0], names, width, mark)
        return
    tags = variant_tags(variants, width)
    first: list[TableCell] = [_tagged_name(each["name"], tags) for each in variants]
    rest: list[TableCell] = [tags[each["name"]] for each in variants]
    columns = [*_metric_columns(names[0], variants), *(next(_metric_columns(name, variants)) for name in names[1:])]
    for number, some in enumerate(_fitting(columns, [mark, *first], [mark, *rest], width)):
        if number and not whole:
            return
        if number:
            yield Text()
        yield from _table([mark, *(rest if number else first)], some, width)


def _tagged_name(name: str, tags: Mapping[str, str]) -> str:
    return name if tags[name] == name else f"{tags[name]} {name}"


def _table(first: Sequence[TableCell], columns: Sequence[Sequence[TableCell]], width: int) -> list[Text]:
    """Return columns, the heads at their top, beside the first one."""
    head, *rows = zip(first, *columns, strict=True)
    heads: list[TableCell] = [(str(head[0]), "dim"), *((str(each), "bold") for each in head[1:])]
    return grid([heads, *rows], right=range(1, len(heads)), width=width)


def _fitting(
    columns: Sequence[Sequence[TableCell]], first: Sequence[TableCell], rest: Sequence[TableCell], width: int
) -> Iterator[list[Sequence[TableCell]]]:
    """Yield the columns in groups that fit the width beside the first column, one at least in each."""
    some: list[Sequence[TableCell]] = []
    left = width - column_width(first)
    for column in columns:
        needed = GAP + column_width(column)
        if some and needed > left:
            yield some
            some, left = [], width - column_width(rest)
        some.append(column)
        left -= needed
    yield some


def _single_variant(variant: Mapping[str, Any], names: Sequence[str], width: int, mark: str) -> Iterator[Text]:
    rows: list[list[TableCell]] = [[(mark, "dim"), "", "", ""]] if mark else []
    for name in names:
        metric = variant["metrics"][name]
        value, interval = metric_parts(metric)
        of_parsed = "" if metric.get("of_parsed") is None else f"of parsed {_of_parsed(metric)}"
        rows.append([_head(name, metric), (value, "bold"), interval, (of_parsed, "dim")])
    yield from grid(rows, right=(1,), width=width)


def _metric_columns(name: str, variants: Variants) -> Iterator[list[TableCell]]:
    """Yield a metric's head and its cells, values and intervals each under each other; then its values of parsed
    answers, where some do not parse."""
    metrics = [each["metrics"][name] for each in variants]
    decimals = metric_decimals(metrics)
    parts = [metric_parts(metric, decimals) for metric in metrics]
    widths = [max(len(part) for part in column) for column in zip(*parts, strict=True)]
    cells = [f"{value:>{widths[0]}} {interval:<{widths[1]}}" if widths[1] else value for value, interval in parts]
    yield [_head(name, metrics[0]), *cells]
    if any(metric.get("of_parsed") is not None for metric in metrics):
        yield ["of parsed", *(_of_parsed(metric, decimals) for metric in metrics)]


def _of_parsed(metric: Mapping[str, Any], decimals: int | None = None) -> str:
    """Return what a metric is among answers that parse: where all do, what it is."""
    mean = metric["mean"] if metric.get("of_parsed") is None else metric["of_parsed"]
    places = metric_decimals([metric]) if decimals is None else decimals
    return metric_parts({**metric, "mean": mean, "low": None, "high": None}, places)[0]


def _head(name: str, metric: Mapping[str, Any]) -> str:
    of = (metric.get("parts") or {}).get("mean_is")
    return f"{name} ({of})" if of else name


def spent_lines(variants: Variants, width: int) -> Iterator[Text]:
    """Yield what each variant's answers are worth and took, without columns in which nothing is."""
    from rich.text import Text

    columns: list[list[TableCell]] = [
        ["answers", *(_answers(each) for each in variants)],
        ["unparsed", *(_flag_count(each, "unparsed") for each in variants)],
        ["cut off", *(_flag_count(each, "truncated") for each in variants)],
        ["calls", *(f"{each['calls']:,}" for each in variants)],
        ["cached", *(f"{each['cached']:,}" if each["cached"] else "" for each in variants)],
        ["tokens in", *(f"{each['tokens_in']:,}" for each in variants)],
        ["out", *(f"{each['tokens_out']:,}" for each in variants)],
        ["time", *(seconds_text(each["seconds"]) for each in variants)],
        ["cost", *("" if each.get("cost") is None else cost_text(each["cost"]) for each in variants)],
    ]
    kept = [column for column in columns if any(column[1:])]
    tags = variant_tags(variants, width)
    names: list[TableCell] = ["", *(tags[each["name"]] if len(variants) > 1 else "" for each in variants)]
    for number, some in enumerate(_fitting(kept, names, names, width)):
        if number:
            yield Text()
        head, *rows = zip(*(some if len(variants) == 1 else [names, *some]), strict=True)
        right = range(len(variants) > 1, len(head))
        yield from grid([[(str(each), "dim") for each in head], *rows], right=right, width=width)


def _answers(variant: Mapping[str, Any]) -> TableCell:
    """Return how many cells have an answer, of how many where some have none."""
    cases, missing = variant["cases"], variant["missing"]
    return (f"{cases - missing:,} of {cases:,}", "bold red") if missing else f"{cases:,}"


def _flag_count(variant: Mapping[str, Any], name: str) -> TableCell:
    """Return how many answers cannot be read, with their share where it is not 0."""
    count, answers = variant[name], variant["cases"] - variant["missing"]
    if not count:
        return "0"
    share = f"{100 * count / answers:.0f} %" if count >= answers / 100 else "<1 %"
    return f"{count:,} ({share})", "yellow"


def cost_text(cost: float) -> str:
    """Return a cost to a tenth of a thousandth, to the cent from 10 on."""
    return f"{cost:,.2f}" if cost >= 10 else f"{cost:.4f}"


def metric_notes(variants: Variants, tags: Mapping[str, str]) -> Iterator[str]:
    """Yield each note once, with the metrics that make it and, where it is not of all, the variants."""
    of: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name in variants[0]["metrics"]:
        notes = dict.fromkeys(line for variant in variants for line in variant["metrics"][name]["notes"])
        for line in notes:
            told = tuple(tags[each["name"]] for each in variants if line in each["metrics"][name]["notes"])
            of.setdefault((line, told), []).append(name)
    for (line, some), names in of.items():
        of_some = "" if len(some) == len(variants) else f" ({', '.join(some)})"
        yield f"{', '.join(names)}{of_some}: {line}"
    for name in variants[0]["metrics"]:
        yield from _unscored(name, variants, tags)


def _unscored(name: str, variants: Variants, tags: Mapping[str, str]) -> Iterator[str]:
    """Yield of which variants some answers have no score: a metric or its judge failed."""
    for variant in variants:
        if unscored := variant["metrics"][name].get("unscored"):
            answered = variant["cases"] - variant["missing"]
            of = f" ({tags[variant['name']]})" if len(variants) > 1 else ""
            yield f"{name}{of}: {unscored:,} of {answered:,} answers have no score"


EvaluationRecord = Mapping[str, Any]


def fallback_lines(record: EvaluationRecord, width: int) -> Iterator[Text]:
    """Yield what ran in place of what variants name, and which two sent the same requests."""
    from rich.text import Text

    for told in fallback_notes(record, variant_tags(record["variants"], width)):
        for at, line in enumerate(paragraph(visible(told), width=width - 2)):
            yield Text(("  " if at else "! ") + line, style="yellow")


def fallback_notes(record: EvaluationRecord, tags: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield a sentence for each fallback, with the variants that it is of, and for each pair that sent the same."""
    variants = record.get("variants", ())
    tags = tags or {each["name"]: each["name"] for each in variants}
    of: dict[Fallback, list[str]] = {}
    for variant in variants:
        for each in variant.get("fallbacks", ()):
            of.setdefault(Fallback(**each), []).append(variant["name"])
    for told, names in of.items():
        yield str(told) if len(variants) == 1 else f"{', '.join(tags[name] for name in names)}: {told}"
    same = dict.fromkeys((each["a"], each["b"]) for each in record.get("comparisons", ()) if each.get("same_requests"))
    for a, b in same:
        yield f"{tags[a]} and {tags[b]}: the two sent the same requests"
