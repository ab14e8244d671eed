"""Sentences on what training brought to a tuned target, what it took, and what is lost on a second suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from promptkit.evaluation.record import DifferenceRecord
from promptkit.reports.evaluation.figures import difference_parts, difference_unit, metric_parts
from promptkit.reports.text import counted, one_line, seconds_text
from promptkit.tuning.tune_record import (
    ConfirmedDifference,
    KeepRecord,
    ObjectiveRecord,
    SplitMean,
    TrainingRecord,
    TuneRecord,
    WeightsRecord,
)


def weights_texts(record: TuneRecord) -> Iterator[str]:
    """Yield what the weights bring over the best prompt, each training, and what is lost; nothing without either."""
    if record.weights is not None:
        yield from _gain_texts(record, record.weights)
        yield from (_training_text(trained) for trained in record.weights.trained if trained.skipped is None)
        yield from _skipped_texts(record.weights.trained)
    if record.keep is not None:
        yield _keep_text(record.keep)


def _gain_texts(record: TuneRecord, weights: WeightsRecord) -> Iterator[str]:
    found = weights.difference
    if found is None:
        if any(trained.skipped is None for trained in weights.trained):
            yield f"weights: not better than the best prompt on {counted(weights.compared, 'search row')}, so not used"
        return
    shown = "shown" if weights.shown else "not shown"
    gain = _difference_text(record.metric, found)
    yield f"weights over the best prompt: {gain} on {counted(found.n, found.unit)}, {shown}"


def _skipped_texts(trainings: Sequence[TrainingRecord]) -> Iterator[str]:
    """Yield what was not trained and why, each reason once: `topic and tone, adapter: not trained: …`."""
    steps: dict[tuple[str, str], list[str]] = {}
    for trained in trainings:
        if trained.skipped is not None:
            steps.setdefault((trained.kind, trained.skipped), []).append(trained.step)
    for (kind, skipped), names in steps.items():
        yield f"{' and '.join(names)}, {kind}: not trained: {skipped}"


def _training_text(trained: TrainingRecord) -> str:
    """Return a training: `topic, head: trained on 63 rows in 4.1 s, 87 % [79, 93] of 63 held out of these`."""
    took = "by an earlier run" if trained.kept else f"in {seconds_text(trained.seconds)}"
    text = f"{trained.step}, {trained.kind}: trained on {counted(trained.rows, 'row')} {took}"
    if (found := trained.validation) is None or found.mean is None:
        return text
    share = f"{100 * found.mean:.0f} %"
    if found.low is not None and found.high is not None:
        share += f" [{100 * found.low:.0f}, {100 * found.high:.0f}]"
    return f"{text}, {share} of {found.n} held out of these"


def _keep_text(keep: KeepRecord) -> str:
    """Return the loss: `kept on other: −1 points [−3, +1] by accuracy on 120 rows, no worse within 2 points …`."""
    found = keep.difference
    if found is None:
        return f"kept on {keep.suite}: not measured"
    verdict = keep.verdict or "not shown"
    if keep.margin is not None:
        margin = DifferenceRecord(difference=keep.margin)
        value, unit = difference_parts(keep.metric.as_metric(), margin)[0], difference_unit(keep.metric.as_metric())
        verdict += f" within {value.lstrip('+')} {unit}".rstrip()
    means = " → ".join(_mean_text(keep.metric, mean) for mean in (keep.start, keep.incumbent) if mean is not None)
    gain = _difference_text(keep.metric, found)
    return (
        f"kept on {one_line(keep.suite)}: {gain} by {keep.metric.name} on {counted(found.n, found.unit)}, {verdict}; "
        f"{means}, {counted(found.worse, found.unit)} lost, {found.better} won"
    )


def _mean_text(metric: ObjectiveRecord, mean: SplitMean) -> str:
    return metric_parts(metric.with_mean(mean))[0]


def _difference_text(metric: ObjectiveRecord, found: ConfirmedDifference) -> str:
    difference = DifferenceRecord(difference=found.mean, low=found.low, high=found.high)
    value, interval = difference_parts(metric.as_metric(), difference)
    return " ".join(filter(None, (value, difference_unit(metric.as_metric(), difference), interval)))
