"""Notes on serving: what disturbed the measurement, and what its figures do not tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from promptkit.evaluation.record import ServingLevel
from promptkit.evaluation.serving.measurement import ServingResult

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
