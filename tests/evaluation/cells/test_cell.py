"""What a cell is: when an answer is wrong and when it is missing, and what tells the cell from all others."""

from __future__ import annotations

from typing import Any

import pytest

from promptkit.engine.toolsets import sharing_toolsets
from promptkit.errors import ConnectionFailed, RequestRefused, ServerFailed
from promptkit.evaluation.cells import keys as own_module
from promptkit.evaluation.cells.failures import MOST_FAILURES
from promptkit.evaluation.cells.progress import EvalOptions
from promptkit.runtimes.base import Reply, Request
from promptkit.storage import files as files_module
from promptkit.tools.backends import importable
from tests.engine.helpers import Folder
from tests.engine.tool_kinds import Server, kinds_for_tests
from tests.evaluation.suites import PIPELINE, PROMPT, SUITE, Bench, echo, moods, number_of

OPTIONAL = PIPELINE.replace("{prompt: mood}", "{prompt: mood, on_error: skip}")
TWO = """
name: two
inputs: {text: {example: fine}}
steps:
  first: {prompt: mood, on_error: skip}
  second: {prompt: mood, with: {text: "{{ text }} again"}}
"""
RECORDED = SUITE.replace("target: mood", "target: {pipeline: two, step: second, feed: recorded}")


@pytest.fixture
def bench(folder: Folder) -> Bench:
    return Bench(folder, moods(6))


def is_second(request: Request) -> bool:
    return "again" in request.messages[-1].content


async def asked(bench: Bench, suite: str = SUITE) -> int:
    """Return how many requests a run makes that finds the cells of those before it, and no reply."""
    return len((await bench.run(suite, cached=False)).runtime.requests)


# When an answer is missing, and when it is wrong


async def test_a_server_that_fails_is_no_answer_though_the_step_may_be_skipped(bench: Bench) -> None:
    bench.folder.write("pipelines/mood.yaml", OPTIONAL)

    ran = await bench.run(script=lambda each: ServerFailed("over") if number_of(each) == 2 else echo(each))
    retried = await bench.run(options=EvalOptions(retry_errors=True))

    assert ran.record["status"] == "incomplete"
    assert (ran.variant()["missing"], ran.metric()["n"], ran.metric()["mean"]) == (1, 5, 2 / 5)
    assert "over" in ran.evaluated.failure
    assert len(retried.runtime.requests) == 1
    assert retried.metric()["mean"] == 0.5


async def test_a_server_that_is_gone_leaves_no_cell_though_the_step_may_be_skipped(bench: Bench) -> None:
    bench.rows(moods(40))
    bench.folder.write("pipelines/mood.yaml", OPTIONAL)

    ran = await bench.run(script=lambda each: ConnectionFailed("gone"), options=EvalOptions(in_flight=1), concurrency=1)
    after = await bench.run()

    assert ran.evaluated.gave_up
    assert len(ran.runtime.requests) < MOST_FAILURES + 10
    assert len(after.runtime.requests) == 40
    assert after.metric()["mean"] == 0.5


async def test_a_request_that_is_refused_is_the_targets_own_doing_and_may_be_skipped(bench: Bench) -> None:
    bench.folder.write("pipelines/mood.yaml", OPTIONAL)

    ran = await bench.run(script=lambda each: RequestRefused("no") if number_of(each) == 2 else echo(each))

    assert ran.record["status"] == "done"
    assert (ran.variant()["missing"], ran.metric()["n"], ran.metric()["mean"]) == (0, 6, 2 / 6)


async def test_an_answer_that_does_not_parse_is_counted_though_the_step_is_skipped(bench: Bench) -> None:
    bench.folder.write("pipelines/mood.yaml", OPTIONAL)

    ran = await bench.run(
        SUITE.replace("accuracy: label", "accuracy: label, form: format"), script=lambda each: "no idea"
    )

    assert ran.flags == ["unparsed"] * 6
    assert ran.variant()["unparsed"] == 6
    assert (ran.metric()["mean"], ran.metric("form")["mean"]) == (0, 0)


@pytest.mark.parametrize("suite", [SUITE.replace("target: mood", "target: two"), RECORDED], ids=["whole", "recorded"])
@pytest.mark.parametrize("first", [Reply(text="well, I", finish="length"), "no idea"], ids=["cut off", "unparsed"])
async def test_what_becomes_of_a_step_that_the_output_does_not_read_shows_in_the_output_alone(
    bench: Bench, suite: str, first: Any
) -> None:
    said = "again {{ steps.first or 'unsaid' }}" if suite is RECORDED else "again"
    bench.folder.write("pipelines/two.yaml", TWO.replace("again", said))

    ran = await bench.run(suite, script=lambda each: "bad" if is_second(each) else first)

    assert ran.flags == [""] * 6
    assert ran.metric()["mean"] == 1


@pytest.mark.parametrize("third", [Reply(text="well, I", finish="length"), "no idea"], ids=["cut off", "unparsed"])
async def test_one_item_of_many_that_may_be_skipped_leaves_the_others_as_they_are(bench: Bench, third: Any) -> None:
    bench.folder.write(
        "pipelines/many.yaml",
        """
        inputs: {texts: {type: list}}
        steps:
          each: {prompt: mood, on_error: skip, for_each: {text: "{{ texts }}"}}
        """,
    )
    bench.rows([{"texts": ["good 1", "bad 2", "good 3"], "expect": ["good", "bad"]}])

    ran = await bench.run(
        SUITE.replace("target: mood", "target: many").replace("label", "set_f1"),
        script=lambda each: third if number_of(each) == 3 else echo(each),
    )

    assert ran.flags == [""]
    assert [cell.output for cell in ran.view.cells()] == [["good", "bad", None]]
    assert 0 < ran.metric()["mean"] < 1


@pytest.mark.parametrize("output", ["{{ mood[5].why }}", "{{ mood.reasons[0] }}", "{{ [mood][1] | upper }}"])
async def test_an_answer_in_which_the_targets_output_finds_nothing_is_wrong(bench: Bench, output: str) -> None:
    bench.folder.write("pipelines/mood.yaml", PIPELINE + f'output: "{output}"\n')

    ran = await bench.run(SUITE.replace("label", "exact"))

    assert ran.record["status"] == "done"
    assert ran.flags == ["unparsed"] * 6
    assert (ran.metric()["n"], ran.metric()["mean"]) == (6, 0)
    assert all(cell.problem for cell in ran.view.cells())


async def test_the_time_of_a_cell_is_that_of_the_step_that_is_measured(bench: Bench) -> None:
    bench.folder.write("pipelines/two.yaml", TWO.replace("again", "again {{ first }}"))

    def script(request: Request) -> Reply:
        return Reply(text="bad", seconds=1.0 if is_second(request) else 100.0, tokens_in=3, tokens_out=1)

    ran = await bench.run(RECORDED, script=script)

    assert {(cell.seconds, cell.calls, cell.tokens_in) for cell in ran.view.cells()} == {(1.0, 1, 3)}


# What tells a cell from all others


def labelled(labels: str) -> str:
    return PIPELINE.replace("{prompt: mood}", f"{{prompt: mood, answer: {{label: {labels}}}}}")


async def test_the_order_of_labels_is_what_the_model_reads_and_part_of_the_cell(bench: Bench) -> None:
    bench.folder.write("pipelines/mood.yaml", labelled("{good: nice, bad: awful}"))
    assert await asked(bench) == 6
    bench.folder.write("pipelines/mood.yaml", labelled("{bad: awful, good: nice}"))
    assert await asked(bench) == 6
    assert await asked(bench) == 0


async def test_the_order_of_what_a_variant_sets_is_part_of_the_cell(bench: Bench) -> None:
    variant = SUITE + "variants: {v: {mood.answer: {label: {good: nice, bad: awful}}}}\n"
    assert await asked(bench, variant) == 6
    assert await asked(bench, variant.replace("good: nice, bad: awful", "bad: awful, good: nice")) == 6


async def test_the_order_within_an_input_is_part_of_the_cell(bench: Bench) -> None:
    text = PROMPT.replace("inputs: {text: {}}", "inputs: {words: {type: json}}").replace("{{ text }}", "{{ words }}")
    bench.folder.write("templates/prompts/words.j2", text)
    bench.rows([{"words": {"b": 1, "a": 2}, "expect": "bad"}, {"words": {"a": 2, "b": 1}, "expect": "bad"}])

    assert await asked(bench, SUITE.replace("target: mood", "target: words")) == 2


@pytest.mark.parametrize("values", [[1, True, 1.0], ["1", 1], [[], {}, ""]], ids=str)
async def test_inputs_of_different_types_are_different_cells(bench: Bench, values: list[Any]) -> None:
    text = PROMPT.replace("inputs: {text: {}}", "inputs: {words: {type: json}}").replace("{{ text }}", "{{ words }}")
    bench.folder.write("templates/prompts/words.j2", text)
    bench.rows([{"words": value, "expect": "bad"} for value in values])

    assert await asked(bench, SUITE.replace("target: mood", "target: words")) == len(values)


async def test_two_files_of_one_name_that_change_places_make_other_cells(bench: Bench) -> None:
    one, other = PROMPT.replace("Say", "Do say"), PROMPT.replace("Say", "Please say")
    bench.folder.write("pipelines/a/x.j2", one)
    bench.folder.write("pipelines/b/x.j2", other)
    bench.folder.write(
        "pipelines/two.yaml",
        """
        inputs: {text: {example: fine}}
        steps:
          first: {prompt: ./a/x.j2}
          second: {prompt: ./b/x.j2, with: {text: "{{ text }} {{ first }}"}}
        """,
    )
    suite = SUITE.replace("target: mood", "target: two")
    assert await asked(bench, suite) == 12
    bench.folder.write("pipelines/a/x.j2", other)
    bench.folder.write("pipelines/b/x.j2", one)
    assert await asked(bench, suite) == 12


async def test_an_edit_of_a_file_that_a_tool_imports_makes_other_cells(bench: Bench) -> None:
    bench.folder.write("shared/words.py", "WORD = 'one'\n")
    bench.folder.write("tools/up.py", "from shared import words\n\ndef up(text):\n    return text\n")
    bench.folder.write(
        "pipelines/tooled.yaml",
        """
        inputs: {text: {example: fine}}
        tools: {up: "../tools/up.py:up"}
        steps:
          made: {tool: up, with: {text: "{{ text }}"}}
          mood: {prompt: mood, with: {text: "{{ made }}"}}
        """,
    )
    suite = SUITE.replace("target: mood", "target: tooled")
    assert await asked(bench, suite) == 6
    bench.folder.write("shared/words.py", "WORD = 'another'\n")
    assert await asked(bench, suite) == 6
    bench.folder.write("shared/unread.py", "WORD = 'another'\n")
    assert await asked(bench, suite) == 0


async def test_an_edit_of_a_pipeline_within_the_target_or_of_its_prompt_makes_other_cells(bench: Bench) -> None:
    bench.folder.write(
        "pipelines/outer.yaml",
        """
        inputs: {text: {example: fine}}
        steps:
          inner: {pipeline: mood, with: {text: "{{ text }}"}}
        """,
    )
    suite = SUITE.replace("target: mood", "target: outer")
    assert await asked(bench, suite) == 6
    bench.folder.write("pipelines/mood.yaml", PIPELINE.replace("{prompt: mood}", "{prompt: mood, cue: 'Mood is:'}"))
    assert await asked(bench, suite) == 6
    bench.folder.write("templates/prompts/mood.j2", PROMPT.replace("Say", "Please say"))
    assert await asked(bench, suite) == 6


async def test_how_long_a_request_may_take_is_no_part_of_the_cell(bench: Bench) -> None:
    bench.folder.write("promptkit.yaml", "concurrency: 4\n")
    assert await asked(bench) == 6
    for text in (
        PIPELINE.replace("{prompt: mood}", "{prompt: mood, options: {timeout: 60}}"),
        PIPELINE + "defaults: {options: {timeout: 60}}\n",
    ):
        bench.folder.write("pipelines/mood.yaml", text)
        bench.folder.write("promptkit.yaml", "timeout: 70\ndefaults: {options: {timeout: 80}}\n")
        variant = "variants: {v: {mood.options: {timeout: 90}}, w: {mood.options.timeout: 95}}\n"
        assert await asked(bench) == 0
        assert len((await bench.run(SUITE, cached=False, sets=["mood.options.timeout=99"])).runtime.requests) == 0
        assert bench.suite(SUITE + variant).variants[0].content == bench.suite().baseline.content


@pytest.mark.parametrize("line", ["defaults: {layout: prefix}", "feeds: {news: 'http://127.0.0.1/other'}"])
async def test_settings_that_the_target_reads_are_part_of_the_cell(bench: Bench, line: str) -> None:
    before = bench.suite().baseline.content
    bench.folder.write("promptkit.yaml", f"model: auto\n{line}\n")
    assert bench.suite().baseline.content != before


async def test_the_backend_that_runs_programs_is_part_of_the_cell(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(backend: str) -> bytes:
        text = PIPELINE.replace("{prompt: mood}", f"{{prompt: mood, programs: {{backend: {backend}}}}}")
        bench.folder.write("pipelines/mood.yaml", text)
        return bench.suite().baseline.key({}, exact=False)

    keys = {backend: key(backend) for backend in ("monty", "cpython", "auto")}
    assert len(set(keys.values())) == 3
    for backend in ("monty", "cpython"):
        monkeypatch.setattr(own_module, "importable", lambda _, backend=backend: importable(backend))
        keys[f"auto: {backend}"] = key("auto")
    assert len(set(keys.values())) == 4


async def test_a_template_that_promptkit_no_longer_ships_leaves_the_cells_of_older_stores_known(bench: Bench) -> None:
    now = bench.suite().baseline.content

    bench.folder.write("templates/answers/content_free.j2", "N/A\n[MASK]\n")  # as earlier versions shipped it
    assert bench.suite().baseline.content == now

    bench.folder.write("templates/answers/content_free.j2", "N/A\n")
    assert bench.suite().baseline.content != now


TOOLS = "tools: {docs: {search: ../words.txt}}\n"
LISTED = "{prompt: mood, tools: [docs]}"


async def test_the_settings_and_the_files_of_a_steps_tools_are_part_of_the_cell(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = bench.suite().baseline.content
    for word in ("one", "two", "three"):
        bench.folder.write(f"{word}.txt", word)
    with kinds_for_tests():
        contents = []
        for settings in ("../one.txt", "{file: ../one.txt}", "../two.txt"):
            text = PIPELINE.replace("{prompt: mood}", f"{{prompt: mood, tools: [{{search: {settings}}}]}}")
            bench.folder.write("pipelines/mood.yaml", text)
            contents.append(bench.suite().baseline.content)
        bench.folder.write("two.txt", "another")
        contents.append(bench.suite().baseline.content)
        monkeypatch.setattr(files_module, "MAX_FILE_BYTES", 1_000_000)
        bench.folder.write("two.txt", "x" * 1_000_001)
        contents.append(bench.suite().baseline.content)
    assert len({plain, *contents}) == 6


async def test_what_a_toolset_says_of_itself_is_part_of_the_cell(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.folder.write("promptkit.yaml", "mcp: {git: {command: [git]}}\n")
    step = '{prompt: mood, tools: ["mcp:git"]}'
    bench.folder.write("pipelines/mood.yaml", "allow: [mcp:git]\n" + PIPELINE.replace("{prompt: mood}", step))
    with kinds_for_tests():
        before = bench.suite().baseline.content
        monkeypatch.setattr(Server, "identity", {"command": ["other"]})
        assert bench.suite().baseline.content != before


async def test_a_tool_that_no_step_uses_leaves_the_cell_as_it_is_where_its_file_changes(bench: Bench) -> None:
    bench.folder.write("words.txt", "one")
    with kinds_for_tests():
        bench.folder.write("pipelines/mood.yaml", TOOLS + PIPELINE)
        before = bench.suite().baseline.content
        bench.folder.write("words.txt", "two")
        assert bench.suite().baseline.content == before


async def test_an_evaluation_opens_a_server_once_and_a_dead_one_gives_missing_cells(bench: Bench) -> None:
    bench.folder.write("promptkit.yaml", "mcp: {git: {command: [git]}, dead: {command: [dead]}}\n")
    for server, missing in (("git", 0), ("dead", 6)):
        step = f'{{prompt: mood, tools: ["mcp:{server}"]}}'
        allow = f'allow: ["mcp:{server}"]\n'
        bench.folder.write("pipelines/mood.yaml", allow + PIPELINE.replace("{prompt: mood}", step))
        with kinds_for_tests() as log:
            async with sharing_toolsets():
                ran = await bench.run(SUITE)
            assert ran.variant()["missing"] == missing
            assert len({line for line in log if line.startswith("closed")}) == 1
