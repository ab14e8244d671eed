"""Batches: each example once, in few shapes, with what all share computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptkit.runtimes.in_process.gguf_contents import read_contents
from promptkit.training.fitting.batches import MOST_SHAPES, Batches, Layout, choose_layout, choose_shapes
from promptkit.training.step_requests import TrainingExample
from promptkit.training.transformer.architectures import TransformerConfig, read_config
from tests.training.tiny_gguf import write_tiny

tokens = st.lists(st.integers(1, 99), min_size=2, max_size=40).map(tuple)
examples_of = st.lists(
    st.builds(lambda prompt, reply: TrainingExample(0, prompt, reply[:5]), tokens, tokens), min_size=1, max_size=40
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TransformerConfig:
    path: Path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    return read_config(read_contents(write_tiny(path)))


@settings(max_examples=60)
@given(examples_of, st.booleans(), st.integers(1, 5))
def test_each_example_is_once_in_a_batch_with_its_replys_places(
    examples: list[TrainingExample], packed: bool, size: int
) -> None:
    beginning = (7, 8, 9) if packed else ()
    examples = [TrainingExample(0, (*beginning, *example.prompt), example.reply) for example in examples]
    batches = Batches(examples, Layout(size, beginning, choose_shapes(examples, len(beginning), size, 6)))
    seen: list[int] = []
    for shape, batch in batches.all():
        seen += batch.examples
        for number, at in enumerate(batch.examples):
            example, (row, column) = examples[at], batches.start(number, shape)
            own = batch.tokens[row, column : column + batches.length(at)]
            assert (*beginning, *own) == (*example.prompt, *example.reply)
            assert batch.positions[column] == len(beginning)
            places = batch.places.reshape(size, -1)[number][: len(example.reply)]
            assert (batch.tokens[row, places + 1] == example.reply).all()
            assert batch.weights[number].sum() == len(example.reply)
        assert batch.weights[len(batch.examples) :].sum() == 0

    assert sorted(seen) == list(range(len(examples)))


@given(examples_of)
def test_there_are_few_shapes_and_the_last_holds_the_longest_example(examples: list[TrainingExample]) -> None:
    shapes = choose_shapes(examples, 0, 8, 6)

    assert 1 <= len(shapes) <= MOST_SHAPES
    assert shapes[-1].length == max(map(len, examples))


def example(length: int, beginning: tuple[int, ...] = ()) -> TrainingExample:
    return TrainingExample(0, (*beginning, *range(100, 100 + length - 2)), (1, 2))


def test_lengths_that_differ_much_get_shapes_of_their_own_where_many_rows_have_them() -> None:
    few = [example(20)] * 8 + [example(200)] * 8
    many = [example(20)] * 400 + [example(200)] * 400

    assert [shape.length for shape in choose_shapes(few, 0, 8, 1)] == [200]
    assert [shape.length for shape in choose_shapes(many, 0, 8, 1)] == [20, 200]


def test_a_pass_has_an_order_of_its_own_that_the_seed_decides() -> None:
    examples = [example(20)] * 40
    batches = Batches(examples, Layout(8, (), choose_shapes(examples, 0, 8, 1)))

    def order(seed: int, epoch: int) -> list[int]:
        return [at for number in range(5) for at in batches.shuffled(seed, epoch, number)[1].examples]

    assert sorted(order(0, 0)) == list(range(40))
    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(*key)) for key in ((0, 0), (0, 1), (1, 0))}) == 3


def test_what_all_prompts_begin_with_is_computed_once_where_that_is_much(config: TransformerConfig) -> None:
    beginning = tuple(range(60))
    long = [TrainingExample(at, (*beginning, 70 + at, 5), (1, 2)) for at in range(9)]
    short = [TrainingExample(at, (60 + at, *range(100, 400)), (1, 2)) for at in range(9)]

    assert choose_layout(long, config, size=8, epochs=2).beginning == beginning
    assert choose_layout(short, config, size=8, epochs=2).beginning == ()


def test_a_prompt_keeps_one_token_after_the_shared_beginning(config: TransformerConfig) -> None:
    same = [TrainingExample(at, tuple(range(60)), (at, 2)) for at in range(9)]

    assert choose_layout(same, config, size=8, epochs=2).beginning == tuple(range(59))


def test_tokens_that_a_set_allows_stand_beside_the_target() -> None:
    found = TrainingExample(0, (5, 6), (1, 2), ((1, 3), (2,)))
    batches = Batches([found], Layout(1, (), choose_shapes([found], 0, 1, 1)))
    ((_, batch),) = batches.all()

    assert np.array_equal(batch.allowed[0], [[1, 3], [2, 2]])
