"""Figures of serving, from what was measured: each with an interval, and each variant against the first.

The rounds are the independent units: within one, requests share the machine's state. A figure of a round is its
median; intervals are t on the logarithms of the rounds, and a comparison pairs the rounds of two variants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from promptkit.evaluation.metrics.estimation import finite
from promptkit.evaluation.record import ServedModel, ServingComparison, ServingFigure, ServingLevel, ServingRecord
from promptkit.evaluation.serving.measurement import ROUNDS, Block, Served, ServingResult
from promptkit.evaluation.statistics.interval import quantile
from promptkit.evaluation.statistics.paired import paired_ratio
from promptkit.evaluation.summary import family_level
from promptkit.evaluation.verdicts import verdict_of

UPPER_QUANTILE = 0.95
FEWEST_ROUNDS = 3
"""Rounds below which a figure has no interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureKind:
    """A figure: how a block gives its measurements, and the reason where it gives none.

    `unit` is `s` or `/s`. Only durations have a 95th percentile: of a speed the slow end counts, which is that of the
    duration.
    """

    about: str
    unit: Literal["s", "/s"]
    measured: Callable[[Block], Iterable[float | None]]
    lack: str

    @property
    def higher_is_better(self) -> bool:
        return self.unit == "/s"

    @property
    def has_p95(self) -> bool:
        return self.unit == "s"


def _inverse(rate: float | None) -> float | None:
    return None if not rate else 1 / rate


def _throughput(block: Block) -> list[float | None]:
    counts = [request.tokens_out for request in block.requests]
    known = [count for count in counts if count is not None]
    return [sum(known) / block.elapsed] if known and len(known) == len(counts) and block.elapsed else []


_NO_RATE = "no answer has two tokens or more, or their times are not reported"

FIGURES: Mapping[str, FigureKind] = {
    "first_token": FigureKind(
        about="time to first token of a request",
        unit="s",
        measured=lambda block: (request.first_token for request in block.requests),
        lack="the runtime does not report when the first token came",
    ),
    "tokens_per_second": FigureKind(
        about="output tokens per second of a request, after its first token",
        unit="/s",
        measured=lambda block: (request.tokens_per_second for request in block.requests),
        lack=_NO_RATE,
    ),
    "throughput": FigureKind(
        about="output tokens per second of all concurrent requests together",
        unit="/s",
        measured=_throughput,
        lack="the runtime does not count output tokens",
    ),
    "latency": FigureKind(
        about="seconds until a row's output is there",
        unit="s",
        measured=lambda block: (row.seconds for row in block.rows if not row.failure),
        lack="no row was answered",
    ),
    "rows_per_second": FigureKind(
        about="rows that were answered per second",
        unit="/s",
        measured=lambda block: [_answered(block) / block.elapsed] if block.elapsed and _answered(block) else [],
        lack="no row was answered",
    ),
    "inter_token_latency": FigureKind(
        about="seconds from one output token of a request to the next",
        unit="s",
        measured=lambda block: (_inverse(request.tokens_per_second) for request in block.requests),
        lack=_NO_RATE,
    ),
    "prompt_tokens_per_second": FigureKind(
        about="prompt tokens read per second, without those of the prefix cache",
        unit="/s",
        measured=lambda block: (request.prompt_tokens_per_second for request in block.requests),
        lack="the runtime does not report what its prefix cache held, or how long it read the rest",
    ),
}
"""The figures by name, those that decide first."""


def _answered(block: Block) -> int:
    return sum(not row.failure for row in block.rows)


def serving_record(result: ServingResult) -> ServingRecord:
    """Return the record of a measurement."""
    levels = [_level(served) for served in result.served]
    spread = max(filter(None, (_spread(level) for level in levels)), default=None)
    return ServingRecord(
        concurrency=result.spec.concurrency,
        rounds=ROUNDS,
        warmup=result.spec.warmup,
        models=[_served_model(name, result) for name in result.models],
        levels=levels,
        comparisons=list(_comparisons(levels)),
        spread=spread,
        notes=list(serving_notes(result, levels, spread)),
    )


def _level(served: Served) -> ServingLevel:
    blocks = served.blocks
    requests = [request for block in blocks for request in block.requests]
    rows = [row for block in blocks for row in block.rows]
    failures = [row.failure for row in rows if row.failure]
    asked, reused = ([getattr(request, name) for request in requests] for name in ("tokens_in", "tokens_reused"))
    known = bool(requests) and None not in (*asked, *reused)
    return ServingLevel(
        variant=served.variant,
        concurrency=served.concurrency,
        rows=len(rows),
        requests=len(requests),
        errors=len(failures),
        failure=failures[0] if failures else "",
        reused=sum(reused) / (sum(asked) or 1) if known else None,
        tokens_in=_mean(asked),
        tokens_out=_mean([request.tokens_out for request in requests]),
        figures={name: _figure(kind, blocks) for name, kind in FIGURES.items()},
    )


def _mean(counts: Sequence[int | None]) -> float | None:
    known = [count for count in counts if count is not None]
    return sum(known) / len(known) if known else None


def _figure(kind: FigureKind, blocks: Sequence[Block]) -> ServingFigure:
    by_round = [[value for value in kind.measured(block) if value is not None] for block in blocks]
    values = [value for measured in by_round for value in measured]
    if not values:
        return ServingFigure(lack=kind.lack)
    rounds = [float(np.median(measured)) if measured else 0.0 for measured in by_round]
    known = np.array([median for median in rounds if median > 0])
    found = paired_ratio(known, np.ones(len(known)), np.arange(len(known)))
    low, high = (found.low, found.high) if len(known) >= FEWEST_ROUNDS else (None, None)
    p95 = quantile(np.array(values), UPPER_QUANTILE) if kind.has_p95 else None
    return ServingFigure(
        value=found.difference if len(known) else float(np.median(values)),
        low=low,
        high=high,
        p95=p95.value if p95 else None,
        p95_low=finite(p95.low) if p95 else None,
        p95_high=finite(p95.high) if p95 else None,
        n=len(values),
        rounds=rounds,
    )


def _comparisons(levels: Sequence[ServingLevel]) -> Iterator[ServingComparison]:
    """Yield each variant against the first, at each concurrency, by each figure that both have.

    The intervals of one figure hold for all variants and concurrencies together (Bonferroni).
    """
    baseline = levels[0].variant
    first = {level.concurrency: level for level in levels if level.variant == baseline}
    family = sum(level.variant != baseline for level in levels)
    for level in levels:
        if level.variant == baseline:
            continue
        for name, figure in level.figures.items():
            pairs = [
                (a, b)
                for a, b in zip(figure.rounds, first[level.concurrency].figures[name].rounds, strict=False)
                if a > 0 and b > 0
            ]
            if not pairs:
                continue
            a, b = np.array(pairs).T
            found = paired_ratio(a, b, np.arange(len(pairs)), level=family_level(family))
            low, high = (found.low, found.high) if len(pairs) >= FEWEST_ROUNDS else (None, None)
            yield ServingComparison(
                a=level.variant,
                b=baseline,
                concurrency=level.concurrency,
                figure=name,
                ratio=found.difference,
                low=low,
                high=high,
                n=len(pairs),
                verdict=verdict_of(low, high, higher_is_better=FIGURES[name].higher_is_better, is_ratio=True) or "",
            )


def _spread(level: ServingLevel) -> float | None:
    """Return the ratio between a level's highest and lowest round: of speeds where these are known, which rows of
    other lengths hardly change, else of latencies.
    """
    figures = level.figures
    rounds = figures["tokens_per_second"].rounds or figures["latency"].rounds
    known = [value for value in rounds if value > 0]
    return max(known) / min(known) if known else None


def _served_model(name: str, result: ServingResult) -> ServedModel:
    memory, slots = result.memory[name], [model.slots for model in result.models[name] if model.slots is not None]
    return ServedModel(
        variant=name,
        references=[model.reference for model in result.models[name]],
        slots=min(slots, default=None),
        memory=memory.size if memory else None,
        gpu_memory=memory.gpu if memory else None,
        memory_source=memory.source if memory else "",
    )


STEADY = 1.25
"""The ratio between two rounds above which a note says that the machine was disturbed."""
OTHER_LENGTH = 1.1
"""The ratio of answers' lengths from which a note says that two variants do not write the same amount."""
MUCH_REUSED = 0.05
"""The share of reused prompt tokens above which a note names it."""


def serving_notes(result: ServingResult, levels: Sequence[ServingLevel], spread: float | None) -> Iterator[str]:
    """Yield the notes that qualify the figures."""
    served = _served_names(result)
    if scripted := [name for name, found in result.models.items() if found and name not in served]:
        yield f"{_names(scripted)}: answered by a script, so these are not the times of a model"
    if spread is not None and spread > STEADY:
        yield (
            f"rounds of one variant differ by up to ×{spread:.2f}: something else loaded the machine or the server. "
            "Trust ratios, whose rounds alternate, more than the figures themselves"
        )
    yield from _queue_notes(result)
    yield from _prefix_notes(result, levels)
    yield from _length_notes(levels)
    for level in levels:
        if level.errors:
            where = f"`{level.variant}` at {level.concurrency}"
            yield f"{where}: {level.errors} of {level.rows} rows failed and have no times: {level.failure}"
    if sources := dict.fromkeys(memory.source for memory in result.memory.values() if memory):
        yield f"memory: {'; '.join(sources)}"
    if unknown := [name for name in served if result.memory[name] is None]:
        yield f"memory of {_names(unknown)} is not known: the server does not report it"


def _names(variants: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in dict.fromkeys(variants))


def is_scripted(reference: str) -> bool:
    """Tell whether a model is a script, whose times are not those of a model."""
    return reference.startswith("scripted")


def _served_names(result: ServingResult) -> list[str]:
    """Return the variants that a model serves, and not scripts alone."""
    return [name for name, found in result.models.items() if any(not is_scripted(model.reference) for model in found)]


def _queue_notes(result: ServingResult) -> Iterator[str]:
    models = {model.reference: model for found in result.models.values() for model in found}
    for model in models.values():
        above = [str(count) for count in result.spec.concurrency if model.slots is not None and count > model.slots]
        if above:
            yield (
                f"{model.reference} decodes {model.slots} requests together: at {', '.join(above)} the others wait, "
                "and that counts in their times"
            )


def _length_notes(levels: Sequence[ServingLevel]) -> Iterator[str]:
    """Yield the variants that write answers of another length than the first, at the first concurrency."""
    baseline = levels[0]
    for level in levels[1:]:
        if level.concurrency == baseline.concurrency and level.tokens_out and baseline.tokens_out:
            ratio = level.tokens_out / baseline.tokens_out
            if max(ratio, 1 / ratio) > OTHER_LENGTH:
                yield (
                    f"a request of `{level.variant}` writes {level.tokens_out:.0f} tokens, one of `{baseline.variant}` "
                    f"{baseline.tokens_out:.0f}: latency and throughput differ by that too"
                )


def _prefix_notes(result: ServingResult, levels: Sequence[ServingLevel]) -> Iterator[str]:
    """Yield the share of the prompts that the server did not read again, which shortens the time to first token."""
    most: dict[str, float] = {}
    for level in levels:
        if level.reused is not None:
            most[level.variant] = max(most.get(level.variant, 0.0), level.reused)
    for name, share in most.items():
        if share > MUCH_REUSED:
            yield (
                f"`{name}`: up to {100 * share:.0f} % of the prompt tokens came from the server's prefix cache; the "
                "time to first token is that of the rest"
            )
    served = _served_names(result)
    unknown = [level.variant for level in levels if level.requests and level.reused is None and level.variant in served]
    if unknown:
        again = "" if result.distinct else ", and there were too few rows to ask each once"
        yield (
            f"{_names(unknown)}: the runtime does not report its prefix cache{again}: a prompt, or the beginning that "
            "all share, may have been read before, which shortens the time to first token"
        )
