"""The parameter of a step's examples: sets of demonstrations, and those nearest to each row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from promptkit.engine.pipeline import Step
from promptkit.evaluation.suite.near_duplicates import mutual_near_duplicates, near_duplicates
from promptkit.prompts.nearest_examples import NearestBy
from promptkit.runtimes.base import Model
from promptkit.tuning.data_split import DataSplit
from promptkit.tuning.search_space.candidate import AS_WRITTEN, Choice, Parameter
from promptkit.tuning.search_space.demonstration import Demonstration, gold_demonstrations
from promptkit.tuning.search_space.example_draws import FEWER_DRAWS, RANDOM_DRAWS, example_choices
from promptkit.tuning.search_space.nearest_choices import nearest_choices

USUAL_CONTEXT: Final = 4_096
"""The context window in tokens of a model that does not report one."""
CONTEXT_SHARE: Final = 1 / 3
CHARACTERS_A_TOKEN: Final = 3
"""Plain text has about four per token; with fewer, an estimate errs on the safe side."""


COMMON_ROWS: Final = 20
"""No demonstration is one of so many first rows of the order, on which every candidate is compared."""
MOST_DEMONSTRATIONS: Final = 100


def demonstration_places(split: DataSplit) -> list[int]:
    """Return the places of the rows that may be demonstrations: those set aside, then search rows that come late.

    A search row that a candidate shows is not counted for this candidate alone, so that it is compared with others on
    the rows that both have. A row that nearly repeats a scored one, or belongs to its cluster, would give away the
    answer, and is left out.
    """
    late = set(split.search[COMMON_ROWS:])
    places = _apart_places(split, (*split.demo_pool, *split.search[COMMON_ROWS:]))[:MOST_DEMONSTRATIONS]
    aside, scored = [place for place in places if place not in late], [place for place in places if place in late]
    others = [place for place in (*split.search, *split.holdout) if place not in scored]
    inputs = {place: split.rows[place].inputs[0] for place in (*places, *others)}
    near = {aside[at] for at in near_duplicates((inputs[place] for place in (*others, *scored)), _of(inputs, aside))}
    near |= {scored[at] for at in near_duplicates((inputs[place] for place in others), _of(inputs, scored))}
    near |= {scored[at] for at in mutual_near_duplicates(_of(inputs, scored))}
    return [place for place in places if place not in near]


def _of(inputs: Mapping[int, Mapping[str, Any]], places: Sequence[int]) -> list[Mapping[str, Any]]:
    return [inputs[place] for place in places]


def _apart_places(split: DataSplit, places: Sequence[int]) -> list[int]:
    """Return the places whose clusters have no other row that is scored."""
    clusters = split.clusters
    if clusters is None:
        return list(places)
    scored = {*split.search, *split.holdout}
    counts = Counter(clusters[place] for place in scored)
    return [place for place in places if counts[clusters[place]] == (place in scored)]


def examples_parameter(
    split: DataSplit,
    step: str,
    model: Model,
    *,
    seed: int = 0,
    made: Mapping[str, Sequence[Demonstration]] | None = None,
) -> tuple[Parameter, tuple[str, ...]]:
    """Return the parameter `STEP.examples`, and notes on what is not tried.

    From the data's own rows, where they have answers for the step: four sets each of 2, 4 and 8 that fit a third of the
    context, and the 2, 4 and 8 nearest to each row. `made` are pools of demonstrations that a model made, by name
    (`that it solved`); with several pools there are fewer sets of each.
    """
    suite = split.suite
    asked = suite.baseline.pipeline.steps[step]
    assert asked.prompt_call is not None, "only a step that asks has examples"
    name, notes = f"{step}.examples", []
    reason = "its prompt has no section `input` to show them with"
    if suite.conversation is not None:
        reason = "the rows are conversations, which have no single input and answer"
    if suite.conversation is not None or "input" not in asked.prompt_call.prompt.blocks:
        note = f"{step}: examples are not tried: {reason}"
        return Parameter(name=name, step=step, kind="examples", choices=(Choice(AS_WRITTEN),)), (note,)
    places = demonstration_places(split)
    if near := len(set(split.demo_pool) - set(places)):
        notes.append(f"{step}: {near} rows are not used as demonstrations: they nearly repeat scored rows")
    pools = {"": gold_demonstrations(suite, split.rows, step, places)}
    pools |= {called: [demo for demo in pool if demo.row in places] for called, pool in (made or {}).items()}
    pools = {called: pool for called, pool in pools.items() if pool}
    choices = [Choice("no examples", {name: []})] if asked.prompt_call.examples.all else []
    room = room_for_examples(asked, model)
    draws = FEWER_DRAWS if len(pools) > 1 else RANDOM_DRAWS
    for called, pool in pools.items():
        choices += example_choices(
            step, pool, seed=seed, called=called, room=room, draws=draws, scored=frozenset(split.search)
        )
    every = gold_demonstrations(suite, split.rows, step, _apart_places(split, split.visible))
    by: NearestBy = "embed" if model.embeds_well else "words"
    choices += nearest_choices(suite.baseline.pipeline, step, every, by=by, room=room)
    if not pools and not notes:
        notes.append(f"{step}: no examples are drawn: {_why_none(split)}")
    return Parameter(name=name, step=step, kind="examples", choices=(Choice(AS_WRITTEN), *choices)), tuple(notes)


def _why_none(split: DataSplit) -> str:
    if not split.demo_pool:
        return "there are too few rows to set some aside"
    return "the rows set aside have no answers of this step"


def room_for_examples(step: Step, model: Model) -> int:
    """Return the number of characters of examples that fit a third of the step's context."""
    asked = step.prompt_call.options.context if step.prompt_call else None
    return int((asked or model.context or USUAL_CONTEXT) * CONTEXT_SHARE * CHARACTERS_A_TOKEN)
