"""Report of a tuning run in a terminal: the verdict, its evidence and the diff; and the plan before its first call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

from promptkit.reports.evaluation.figures import (
    difference_decimals,
    difference_parts,
    difference_unit,
    metric_decimals,
    metric_parts,
    number_text,
)
from promptkit.reports.layout import TableCell, columns, cut, grid, paragraph
from promptkit.reports.output import PIPE_WIDTH, emit, note, plain_text, print_report, report_console
from promptkit.reports.text import counted, one_line, seconds_text, visible

if TYPE_CHECKING:
    from rich.text import Text

    from promptkit.tuning.budget import Plan
    from promptkit.tuning.search_space.candidate import Parameter

MOST_FRONT = 8
MOST_DECIMALS = 3
_DIFF_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
_STATUS = {"done": "bold green", "incomplete": "bold red", "interrupted": "bold yellow", "failed": "bold red"}
_STOP_REASONS = {
    "calls": "the budget held no more calls",
    "tokens": "the budget held no more tokens",
    "minutes": "the time of the budget is up",
    "interrupted": "interrupted: this is the best so far, and what was answered is kept",
    "failed": "a model, server or tool failed: this is the best so far, and what was answered is kept",
}


def tuning_text(record: Mapping[str, Any], *, width: int = PIPE_WIDTH) -> str:
    """Return what a tuning found, without colours."""
    return plain_text(tuning_lines(record, width))


def print_tuning(record: Mapping[str, Any], *, stderr: bool = False) -> None:
    """Print what a tuning found as a result: as wide as the terminal, in its colours; 80 characters wide elsewhere."""
    print_report(lambda width: tuning_lines(record, width), stderr=stderr)


def tuning_lines(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    """Yield the lines of a tuning's report: parts with a blank line between them."""
    from rich.text import Text

    parts = (_heading, _verdict, _means, _ablation, _pareto_front, _diff, _written, _notes)
    first = True
    for part in parts:
        lines = list(part(record, width))
        if lines and not first:
            yield Text()
        first = first and not lines
        yield from lines


def _heading(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    from rich.text import Text

    status, model, rows = record["status"], record["model"], record["rows"]
    yield Text.assemble(
        (one_line(f"{record['target']} on {record['suite']}", width // 2), "bold"),
        f"  run {record['run']}  ",
        (status, _STATUS.get(status, "")),
        f"  {spent_text(record)}",
    )
    digest = str(model.get("digest") or "").removeprefix("sha256:")[:12]
    why = f" (named by {model['why']})" if model.get("why") else ""
    told = [
        f"answered by {model['reference']}{why} {digest}".rstrip(),
        f"optimizer {record['optimizer']}, seed {record['seed']}; {counted(rows['search'], 'row')} to search on, "
        f"{rows['pool']} for examples, {rows['confirm']} to confirm",
    ]
    if reason := _STOP_REASONS.get(record["stopped_by"]):
        told.append(reason)
    yield from _paragraphs(told, width, "dim")


def spent_text(record: Mapping[str, Any]) -> str:
    """Return what a tuning took: `597 calls (12 cached), 40,111 tokens, 1 min 11 s`."""
    cached = f" ({record['cached']:,} cached)" if record["cached"] else ""
    return f"{record['calls']:,} calls{cached}, {record['tokens']:,} tokens, {seconds_text(record['seconds'])}"


def _verdict(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    from rich.text import Text

    improved = record["verdict"] == "improved"
    found = record["difference"]
    said = f": {difference_text(record, found)} by {record['metric']['name']}" if found is not None else ""
    where = holdout_text(found)
    first, *rest = paragraph(visible(f"{record['verdict']}{said}{where}"), width=width)
    yield Text(first, style="bold green" if improved else "bold yellow")
    yield from (Text(line, style="bold green" if improved else "bold yellow") for line in rest)
    yield from _paragraphs(verdict_reasons(record), width)


def holdout_text(found: Mapping[str, Any] | None) -> str:
    """Return on what a difference was measured: ` on 142 rows that the search never saw`."""
    return f" on {counted(found['n'], found['unit'])} that the search never saw" if found is not None else ""


def verdict_reasons(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield why the verdict is what it is, and what is to be known of it."""
    found, needed = record["difference"], record["rows_needed"]
    yield record["why"]
    if found is not None:
        level = f"{100 * found['level']:g} %"
        better = counted(found["better"], found["unit"])
        yield f"{better} better, {found['worse']} worse; the interval is at {level}"
    if needed is not None and record["verdict"] != "improved":
        unit = found["unit"] if found is not None else "row"
        yield f"about {needed:,} confirm {unit}s would show a gain of 5 points four times in five"
    if record["ordinal"] > 1:
        yield (
            f"this is verdict {record['ordinal']} on these confirm rows: each further one is tested at half the level; "
            f"new rows begin anew"
        )


def difference_text(record: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Return a difference by the aim with its interval: `+10 points [+2, +18]`."""
    metric, told = record["metric"], {**found, "difference": found.get("difference", found.get("mean"))}
    value, interval = difference_parts(metric, told)
    return " ".join(filter(None, (value, difference_unit(metric, told), interval)))


def _means(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    """Yield start and pick on both sides of the rows."""
    picked = best_name(record)
    shown = [("start", record["baseline"]), (picked, record["best"])]
    known = [side[part] for _, side in shown for part in ("confirm", "search") if side[part]]
    if not known:
        if record["best"]["choices"]:
            yield from _paragraphs([f"{picked}: {choices_text(record)}"], width)
        return
    decimals = metric_decimals({**record["metric"], **each} for each in known)
    rows: list[list[TableCell]] = [["", ("confirm rows", "dim"), ("search rows", "dim")]]
    for name, side in shown:
        cells: list[TableCell] = [(name, "bold")]
        for part in ("confirm", "search"):
            said = side[part]
            parts = metric_parts({**record["metric"], **said}, decimals) if said else ()
            cells.append(" ".join([*parts, f"of {said['n']}"]) if said else "–")
        rows.append(cells)
    yield from grid(rows, width=width)
    yield from _paragraphs([f"{picked}: {choices_text(record)}"], width)
    if record["best"]["search"] and record["best"]["confirm"]:
        told = "the search chose the pick by its search rows, so that these say too much of it"
        yield from _paragraphs([told], width, "dim")


def best_name(record: Mapping[str, Any]) -> str:
    """Return what the best is called: nothing was picked where a tuning ended before."""
    return "pick" if record["status"] == "done" or record["ordinal"] else "so far"


def choices_text(record: Mapping[str, Any]) -> str:
    """Return what the pick chooses, in words."""
    chosen = record["best"]["choices"]
    return " · ".join(f"{axis}: {level}" for axis, level in chosen.items()) or "the target as it is written"


def _ablation(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    from rich.text import Text

    said = record["ablation"]
    if not said:
        return
    metric = record["metric"]
    unit = difference_unit(metric, {})
    # An estimate has no interval that says how many of its digits mean something.
    decimals = min(difference_decimals(metric, said), 1 if unit == "points" else MOST_DECIMALS)
    yield Text(f"what each change brought{f', {unit}' if unit else ''}", style="bold")
    rows: list[list[TableCell]] = []
    for each in said:
        value, interval = difference_parts(metric, each, decimals)
        rows.append([f"{each['axis']}: {each['level']}", value, (interval, "dim"), (measured_on(each), "dim")])
    yield from grid(rows, right=(1,), width=width, indent=2)
    skipped: dict[str, list[str]] = {}
    for each in said:
        if each["skipped"]:
            skipped.setdefault(each["skipped"], []).append(each["axis"])
    if skipped:
        each_why = (f"{', '.join(axes)}{': each' if len(axes) > 1 else ''} {why}" for why, axes in skipped.items())
        yield from _paragraphs([f"not measured on confirm rows: {'; '.join(each_why)}"], width, "dim")
    if len(said) > 1 and all(each["on"] == "confirm" for each in said):
        total = sum(each["difference"] for each in said)
        text = difference_parts(metric, {"difference": total, "low": None, "high": None}, decimals)[0]
        yield from _paragraphs([f"one by one they bring {text} in sum; effects do not add up"], width, "dim")


def measured_on(each: Mapping[str, Any]) -> str:
    """Return what a change's part rests on."""
    return {"confirm": "confirm rows", "search": "search's estimate"}.get(each["on"], "not measured")


def _pareto_front(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    """Yield the candidates that no other is better than in all that counts, the cheapest first."""
    from rich.text import Text

    said = sorted((each for each in record["candidates"] if each["front"]), key=lambda each: each["tokens"] or 0)
    if len(said) < 2:
        return
    told = "no other is better than these in score, tokens, time and unparsed at once (search rows)"
    yield from _paragraphs([told], width, "bold")
    shown = _spread(said)
    metrics = [{**record["metric"], **each} for each in shown]
    decimals = metric_decimals(metrics)
    has_unparsed = any(each["unparsed"] for each in shown)
    heads = ["", record["metric"]["name"], "", "tokens", "time", "rows", *(["unparsed"] if has_unparsed else [])]
    rows: list[list[TableCell]] = [[(each, "dim") for each in heads]]
    for each, metric in zip(shown, metrics, strict=True):
        value, interval = metric_parts(metric, decimals)
        rows.append(
            [
                ("pick" if each["pick"] else "start" if each["start"] else "", "bold"),
                value,
                (interval, "dim"),
                number_text(each["tokens"], 0),
                seconds_text(each["latency"] or 0.0),
                str(each["rows"]),
                *([(f"{100 * each['unparsed']:.0f} %", "red" if each["unparsed"] else "")] if has_unparsed else []),
            ]
        )
    head, *lines = grid(rows, right=(1, 3, 4, 5, 6), width=width, indent=2)
    yield head
    # A name under its numbers may be long without pushing them off the screen.
    for each, line in zip(shown, lines, strict=True):
        yield line
        yield from _paragraphs([one_line(each["name"], 2 * width - 12)], width, "dim", indent="    ")
    if left := len(said) - len(shown):
        yield Text(f"  and {left} between these", style="dim")


def _spread(front: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return at most so many of a front, from its cheap end to its dear one, the pick and the start among them."""
    if len(front) <= MOST_FRONT:
        return front
    step = (len(front) - 1) / (MOST_FRONT - 1)
    wanted = {round(at * step) for at in range(MOST_FRONT)}
    wanted |= {at for at, each in enumerate(front) if each["pick"] or each["start"]}
    return [front[at] for at in sorted(wanted)]


def _diff(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    from rich.text import Text

    for line in record["diff"].splitlines():
        yield Text(visible(line), style=_DIFF_COLOURS.get(line[:1], "") if line[:3] not in ("+++", "---") else "bold")


def _written(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    if record["written"]:
        yield from _paragraphs(written_texts(record), width)


def written_texts(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield which files were written, and which was replaced: with `--apply` the last one."""
    written, replaced = list(record["written"]), [record["written"][-1]] if record["applied"] else []
    for told, names in (("written", written[: len(written) - len(replaced)]), ("replaced", replaced)):
        if names:
            yield f"{told}: {', '.join(names)}"


def _notes(record: Mapping[str, Any], width: int) -> Iterator[Text]:
    from rich.text import Text

    said = [*record["notes"], *(note for stage in record["stages"] for note in stage["notes"])]
    for told in dict.fromkeys(said):
        for at, line in enumerate(paragraph(visible(told), width=width - 2)):
            yield Text(("· " if not at else "  ") + line, style="dim")


def _paragraphs(texts: Any, width: int, style: str = "", *, indent: str = "") -> Iterator[Text]:
    from rich.text import Text

    for told in texts:
        for line in paragraph(visible(told), width=width, first=indent, rest=indent):
            yield Text(line, style=style)


PLAN_WIDTH = 100
MOST_LEVELS = 60
"""How many characters of an axis' levels are told."""


def print_plan(plan: Plan, *, stderr: bool = True) -> None:
    """Print a plan: to stderr before a tuning, as the result of a dry run."""
    console = report_console(stderr=stderr)
    width = min(console.width, PLAN_WIDTH) if console.is_terminal else PLAN_WIDTH
    (note if stderr else emit)(plan_text(plan, width=width))


def plan_text(plan: Plan, *, width: int = PLAN_WIDTH) -> str:
    """Return a plan in lines: rows, what would be tried, calls and minutes, and the smallest gain it could show."""
    return "\n".join(_plan_lines(plan, width))


def _plan_lines(plan: Plan, width: int) -> Iterator[str]:
    yield f"{one_line(plan.target)} on {one_line(plan.suite)}, by {one_line(plan.metric)}, optimizer {plan.optimizer}"
    pool = f" and {plan.pool} for examples" if plan.pool else ""
    rows = f"{counted(plan.search, 'row')} to search on{pool}, {plan.confirm} that the search never sees to confirm"
    yield from _plan_paragraph(rows, width)
    yield from _plan_paragraph(_cost(plan), width)
    if plan.axes:
        axes_text = "1 axis" if len(plan.axes) == 1 else f"{len(plan.axes)} axes"
        yield from _plan_paragraph(f"at most {counted(plan.candidates, 'candidate')} over {axes_text}:", width)
    for _, axes in groupby(plan.axes, key=lambda axis: axis.step):
        cells = [(f"    {axis.name}", str(len(axis.levels)), _choices_text(axis)) for axis in axes]
        yield from (cut(line, width) for line in columns(cells, right=(1,)))
    yield from _plan_paragraph(detectable_gain_text(plan), width)
    for told in plan.notes:
        yield from paragraph(told, width=width, first="  · ", rest="    ")


def _plan_paragraph(text: str, width: int) -> list[str]:
    return paragraph(text, width=width, first="  ", rest="    ")


def _cost(plan: Plan) -> str:
    limits = [f"{plan.calls:,} calls at most, {plan.confirm_calls:,} of them set aside to confirm"]
    if plan.limits.tokens is not None:
        limits.append(f"{plan.limits.tokens:,} tokens at most")
    if plan.limits.minutes is not None:
        limits.append(f"{plan.limits.minutes:g} minutes at most")
    if plan.minutes is not None:
        limits.append(f"about {plan.minutes:.0f} min" if plan.minutes >= 1 else "under a minute")
    return "; ".join(limits)


def detectable_gain_text(plan: Plan) -> str:
    """Return what gain the confirmation could show."""
    rows = counted(plan.confirm, "row")
    if plan.clusters is not None:
        rows = f"{counted(plan.clusters, 'cluster')} of rows"
    if plan.smallest is None:
        return f"{rows} to confirm can show no gain: the verdict will be `not shown`"
    told = f"{rows} to confirm show a gain of {100 * plan.smallest:.0f} points four times in five"
    return f"{told}, a smaller one less often"


def _choices_text(axis: Parameter) -> str:
    return one_line(" · ".join(each.name for each in axis.levels), MOST_LEVELS)
