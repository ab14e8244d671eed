"""Every sentence of the design under Pipelines, on the scripted model."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from promptkit.engine import step_run
from promptkit.engine.inputs import fill_inputs
from promptkit.engine.load import load_target
from promptkit.engine.run import run
from promptkit.engine.session import Event, RunSettings, StepFinished, TextArrived
from promptkit.errors import InputError, RequestRefused, ToolFailed, UnparsedAnswer, Unsupported
from promptkit.runtimes.base import Request
from promptkit.runtimes.client import Client
from promptkit.runtimes.scripted import Scripted
from promptkit.storage.store import Store
from tests.engine.helpers import Folder, Given, asked, by_word, said

THREE = """
name: feedback
inputs:
  feedback: {example: "My bill doubled and the line drops."}
steps:
  issues:
    prompt: "List the issues in: {{ feedback }}"
    answer: {list: {separator: ";"}}
  categories:
    for_each: "{{ issues }}"
    as: issue
    prompt: "Classify the issue: {{ issue }}"
    answer: {label: [reliability, pricing]}
  recommendations:
    for_each: "{{ categories | unique }}"
    as: category
    prompt: "Recommend for {{ category }} about {{ issues | join(' and ') }}"
    with: {issues: "{{ issues | where(categories, category) }}"}
output:
  issues: "{{ categories.pairs | as_map }}"
  recommendations: "{{ recommendations.pairs | as_map }}"
"""


async def test_a_pipeline_of_three_steps_gives_what_its_output_says(folder: Folder) -> None:
    model = by_word(
        **{
            "List the issues": "bill doubled; line drops; support slow",
            "Classify the issue: bill": "pricing",
            "Classify the issue: line": "reliability",
            "Classify the issue: support": "reliability",
            "Recommend for pricing about bill doubled": "Refund.",
            "Recommend for reliability about line drops and support slow": "Repair.",
        }
    )
    result = await folder.run(THREE, model)
    assert result.error is None
    assert result.output == {
        "issues": {"bill doubled": "pricing", "line drops": "reliability", "support slow": "reliability"},
        "recommendations": {"pricing": "Refund.", "reliability": "Repair."},
    }
    assert len(model.requests) == 6
    assert [step.calls for step in result.steps.values()] == [1, 3, 2]
    assert result.totals.calls == 6


async def test_a_one_step_pipeline_gives_its_result(folder: Folder) -> None:
    model = Scripted(["fine"])
    result = await folder.run("steps: {greet: {prompt: Say hello}}", model)
    assert result.output == "fine"
    assert "Say hello" in asked(model)[0]


async def test_for_each_gives_one_element_for_each_in_order_whatever_finishes_first(folder: Folder) -> None:
    async def answer(request: Request) -> str:
        text = said(request)
        await asyncio.sleep(0.02 if "item a" in text else 0)
        return "A" if "item a" in text else "B"

    text = "inputs: {all: {type: list}}\nsteps: {each: {for_each: all, as: one, prompt: 'item {{ one }} {{ index }}'}}"
    model = Scripted(answer)
    result = await folder.run(text, model, {"all": ["a", "b", "a"]})
    assert result.output == ["A", "B", "A"]
    assert ["item a 0" in text for text in sorted(asked(model))] == [True, False, False]


EACH = "inputs: {all: {type: list}}\nsteps: {each: {for_each: all, as: one, prompt: 'item {{ one }}.'}}"


async def test_of_many_items_only_so_many_are_begun_at_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_run, "MAX_CONCURRENT_ITEMS", 3)
    tasks = 0

    async def answer(request: Request) -> str:
        nonlocal tasks
        await asyncio.sleep(0.001)
        tasks = max(tasks, len(asyncio.all_tasks()))
        return said(request).split("item ")[1].split(".")[0]

    model = Scripted(answer, parallel=20)
    result = await folder.run(EACH, model, {"all": list(range(30))})
    assert result.output == [str(number) for number in range(30)]
    assert [part.name for part in result.trace.children[0].children] == [f"each[{number}]" for number in range(30)]
    assert model.peak == 3
    assert tasks < 10


async def test_more_items_are_begun_at_once_than_the_500_that_a_server_may_be_asked_for(folder: Folder) -> None:
    full = asyncio.Event()

    async def answer(request: Request) -> str:
        if len(model.requests) == 500:
            full.set()
        await full.wait()
        return "done"

    model = Scripted(answer, parallel=500)
    async with asyncio.timeout(60):
        result = await folder.run(EACH, model, {"all": list(range(600))})
    assert len(result.output) == 600
    assert model.peak == 500


async def test_each_item_costs_the_same_however_many_there_are(folder: Folder, tmp_path: Path) -> None:
    async def calls(items: int) -> int:
        """Return how many Python functions a run of so many items calls on its thread."""
        count = 0

        def counting(frame: object, event: str, argument: object) -> None:
            nonlocal count
            count += event == "call"

        with Store.open(tmp_path / f"store-{items}") as store:
            models = Given(Scripted(lambda request: "done", keep_requests=False))
            sys.setprofile(counting)
            try:
                await run(folder.load(EACH), {"all": list(range(items))}, models=models, store=store)
            finally:
                sys.setprofile(None)
        return count

    await calls(10)  # so that what is imported and made once counts for nobody
    few, some, many = [await calls(items) for items in (50, 150, 450)]
    assert (many - some) / 300 == pytest.approx((some - few) / 100, rel=0.1)


async def test_for_each_over_nothing_gives_an_empty_list_without_a_request(folder: Folder) -> None:
    model = Scripted([])
    result = await folder.run(
        "inputs: {all: {type: list}}\nsteps: {each: {for_each: all, as: one, prompt: '{{ one }}'}}", model, {"all": []}
    )
    assert result.output == []
    assert model.requests == []


async def test_several_lists_go_in_step_and_pairs_hold_their_items(folder: Folder) -> None:
    text = """
    inputs: {left: {type: list}, right: {type: list}}
    steps:
      joined: {for_each: {a: "{{ left }}", b: "{{ right }}"}, prompt: "{{ a }}+{{ b }}"}
    output: "{{ joined.pairs }}"
    """
    model = by_word(**{"1+3": "four", "2+4": "six"})
    result = await folder.run(text, model, {"left": [1, 2], "right": [3, 4]})
    assert result.output == [[{"a": 1, "b": 3}, "four"], [{"a": 2, "b": 4}, "six"]]


async def test_lists_of_unequal_length_are_an_error_that_names_both(folder: Folder) -> None:
    text = """
    inputs: {left: {type: list}, right: {type: list}}
    steps: {joined: {for_each: {a: "{{ left }}", b: "{{ right }}"}, prompt: "{{ a }}{{ b }}"}}
    """
    result = await folder.run(text, Scripted([]), {"left": [1, 2], "right": [3]})
    assert isinstance(result.error, InputError)
    assert "`a` has 2, `b` has 1" in str(result.error)


async def test_independent_steps_and_items_run_at_once(folder: Folder) -> None:
    text = """
    inputs: {all: {type: list}}
    steps:
      one: {prompt: now one}
      two: {prompt: now two}
      each: {for_each: all, as: item, prompt: "{{ item }}"}
    """
    model = Scripted(lambda request: "x", delay=0.02)
    await folder.run(text, model, {"all": [1, 2, 3]})
    assert model.peak == 5


async def test_no_more_requests_are_in_flight_than_the_runtime_takes(folder: Folder) -> None:
    model = Scripted(lambda request: "x", delay=0.005, parallel=2)
    text = "inputs: {all: {type: list}}\nsteps: {each: {for_each: all, as: item, prompt: '{{ item }}'}}"
    await folder.run(text, model, {"all": [1, 2, 3, 4, 5]})
    assert model.peak == 2


async def test_after_orders_steps_that_share_nothing(folder: Folder) -> None:
    model = Scripted(lambda request: "x")
    await folder.run("steps: {late: {prompt: now second, after: early}, early: {prompt: now first}}", model)
    assert ["first" in text for text in asked(model)] == [True, False]


SKIPPING = """
inputs: {go: {type: boolean}}
steps:
  plan: {when: "{{ go }}", prompt: now Plan}
  act: {prompt: "Act on {{ plan }}"}
  tell: {prompt: "Tell of {{ it }}", with: {it: "{{ plan or 'nothing' }}"}}
  look: {when: steps.plan.status == 'skipped', prompt: now Look}
output: {plan: "{{ plan }}", act: "{{ act }}", tell: "{{ tell }}", look: "{{ look }}"}
"""


async def test_a_step_not_run_is_null_and_so_is_what_needs_it_unless_with_says_otherwise(folder: Folder) -> None:
    model = by_word(**{"Tell of nothing": "told", "now Look": "seen"})
    result = await folder.run(SKIPPING, model, {"go": False})
    assert result.error is None
    assert result.output == {"plan": None, "act": None, "tell": "told", "look": "seen"}
    assert [result.steps[name].status for name in ("plan", "act", "tell", "look")] == [
        "skipped",
        "skipped",
        "done",
        "done",
    ]
    assert len(model.requests) == 2


async def test_a_step_that_runs_is_seen_by_those_that_need_it(folder: Folder) -> None:
    model = by_word(**{"now Plan": "a plan"}, **{"Act on a plan": "acted", "Tell of a plan": "told"})
    result = await folder.run(SKIPPING, model, {"go": True})
    assert result.output == {"plan": "a plan", "act": "acted", "tell": "told", "look": None}


async def test_when_must_be_a_boolean(folder: Folder) -> None:
    result = await folder.run(
        "inputs: {n: {type: number}}\nsteps: {one: {when: n, prompt: now x}}", Scripted([]), {"n": 1}
    )
    assert "`when` must be true or false" in str(result.error)


async def test_when_that_names_the_item_is_asked_for_each_item(folder: Folder) -> None:
    text = """
    inputs: {all: {type: list}}
    steps:
      each: {for_each: all, as: item, when: item > 1, prompt: "{{ item }}"}
      then: {for_each: each, as: word, prompt: "then {{ word }}"}
    output: ["{{ each }}", "{{ then }}"]
    """
    model = Scripted(lambda request: "after" if "then" in said(request) else "x")
    result = await folder.run(text, model, {"all": [1, 2]})
    assert result.output == [[None, "x"], [None, "after"]]
    assert len(model.requests) == 2


async def test_on_error_skip_gives_null_and_the_status_failed(folder: Folder) -> None:
    text = """
    steps:
      shaky: {prompt: now shaky, on_error: skip}
      next: {prompt: "{{ shaky }}"}
      status: {prompt: "{{ it }}", with: {it: "{{ steps.shaky.status }}"}}
    output: ["{{ shaky }}", "{{ next }}", "{{ status }}"]
    """
    model = Scripted(lambda request: RequestRefused("no") if "shaky" in said(request) else "fine")
    result = await folder.run(text, model)
    assert result.error is None
    assert result.output == [None, None, "fine"]
    assert result.steps["shaky"].status == "failed"
    assert "no" in (result.steps["shaky"].problem or "")
    assert "failed" in asked(model)[-1]


async def test_on_error_default_gives_the_value_and_what_needs_it_runs(folder: Folder) -> None:
    text = """
    steps:
      shaky: {prompt: now shaky, on_error: {default: plan B}}
      next: {prompt: "follow {{ shaky }}"}
    """
    model = Scripted(lambda request: RequestRefused("no") if "shaky" in said(request) else "fine")
    result = await folder.run(text, model)
    assert result.output == "fine"
    assert "follow plan B" in asked(model)[-1]


async def test_on_error_fail_ends_the_run_with_the_step_and_item_named_and_keeps_what_was_finished(
    folder: Folder,
) -> None:
    text = """
    inputs: {all: {type: list}}
    steps:
      first: {prompt: now good}
      each: {for_each: all, as: item, prompt: "{{ item }} after {{ first }}"}
    """
    model = Scripted(lambda request: RequestRefused("no") if "bad" in said(request) else "fine")
    result = await folder.run(text, model, {"all": ["ok", "bad"]})
    assert isinstance(result.error, RequestRefused)
    assert str(result.error) == "step `each`, item 1: no"
    assert result.output is None
    assert result.steps["first"].value == "fine"
    assert result.steps["each"].status == "failed"


async def test_one_failed_item_is_null_in_its_place(folder: Folder) -> None:
    text = "inputs: {all: {type: list}}\nsteps: {each: {for_each: all, as: item, prompt: '{{ item }}', on_error: skip}}"
    model = Scripted(lambda request: RequestRefused("no") if "bad" in said(request) else "fine")
    result = await folder.run(text, model, {"all": ["ok", "bad", "ok"]})
    assert result.output == ["fine", None, "fine"]
    assert result.steps["each"].status == "failed"


NUMBER = "steps: {count: {prompt: How many?, answer: number, decide: generate}}"


async def test_an_answer_that_does_not_parse_gets_one_repair(folder: Folder) -> None:
    model = Scripted(["many", "7"])
    result = await folder.run(NUMBER, model)
    assert result.output == 7
    assert "many" in asked(model)[1]
    assert result.steps["count"].calls == 2
    assert result.steps["count"].unparsed == 0


async def test_an_answer_that_stays_unparsed_fails_the_run(folder: Folder) -> None:
    result = await folder.run(NUMBER, Scripted(["many", "lots"]))
    assert isinstance(result.error, UnparsedAnswer)
    assert result.error.exit_code == 3
    assert result.steps["count"].unparsed == 1


async def test_no_repairs_where_the_settings_or_the_step_say_so(folder: Folder) -> None:
    result = await folder.run(NUMBER, Scripted(["many"]), settings=RunSettings(repairs=0))
    assert isinstance(result.error, UnparsedAnswer)
    result = await folder.run(NUMBER, Scripted(["many"]), sets=["count.repairs=0"])
    assert isinstance(result.error, UnparsedAnswer)
    result = await folder.run(
        NUMBER, Scripted(["a", "b", "3"]), sets=["count.repairs=2"], settings=RunSettings(repairs=0)
    )
    assert result.output == 3


async def test_a_cut_off_answer_is_asked_for_again_with_twice_the_tokens(folder: Folder) -> None:
    model = Scripted(lambda request: "one two three four five six")
    result = await folder.run("steps: {tell: {prompt: now Tell, options: {max_tokens: 4}}}", model)
    assert [request.max_tokens for request in model.requests] == [4, 8]
    assert result.output == "one two three four five six"
    assert result.steps["tell"].truncated == 0


async def test_an_answer_that_stays_cut_off_is_kept_and_counted(folder: Folder) -> None:
    model = Scripted(lambda request: "one two three four five six")
    result = await folder.run("steps: {tell: {prompt: now Tell, options: {max_tokens: 2}}}", model)
    assert result.output == "one two three four"
    assert result.steps["tell"].truncated == 1


GUARD = """
steps:
  name:
    prompt: Name one
    guard: {expr: "result | length < 6", say: "{{ result }} is too long"}
"""


async def test_a_failed_guard_gets_a_repair_that_is_told_what_is_wrong(folder: Folder) -> None:
    model = Scripted(["Alexander", "Al"])
    result = await folder.run(GUARD, model)
    assert result.output == "Al"
    assert "Alexander is too long" in asked(model)[1]


async def test_a_guard_that_keeps_failing_fails_the_step(folder: Folder) -> None:
    result = await folder.run(GUARD, Scripted(["Alexander", "Alexandra"]))
    assert isinstance(result.error, UnparsedAnswer)
    assert "Alexandra is too long" in str(result.error)


REPEAT = """
steps:
  draft:
    prompt: "Improve {{ text }} (round {{ round }})"
    with: {text: "{{ previous or 'nothing' }}"}
    repeat: {until: "'done' in result", max: 3}
"""


async def test_repeat_goes_on_until_it_holds_and_sees_the_previous_result(folder: Folder) -> None:
    model = Scripted(["one", "two done"])
    result = await folder.run(REPEAT, model)
    assert result.output == "two done"
    assert result.steps["draft"].status == "done"
    texts = asked(model)
    assert "Improve nothing (round 1)" in texts[0]
    assert "Improve one (round 2)" in texts[1]


async def test_at_max_the_last_result_stands_and_the_status_is_capped(folder: Folder) -> None:
    result = await folder.run(REPEAT, Scripted(["one", "two", "three"]))
    assert result.output == "three"
    assert result.steps["draft"].status == "capped"


async def test_repeat_starts_from_what_it_is_given(folder: Folder) -> None:
    model = Scripted(["x"])
    await folder.run(REPEAT, model, sets=["draft.repeat={max: 1, start: a seed}"])
    assert "Improve a seed" in asked(model)[0]


async def test_rounds_of_the_same_prompt_are_different_samples(folder: Folder) -> None:
    model = Scripted(["a", "b"])
    await folder.run("steps: {roll: {prompt: now Roll, repeat: {max: 2}}}", model)
    assert len({request.sample for request in model.requests}) == 2


async def test_a_tool_step_gets_its_arguments_by_with_and_returns_json(folder: Folder) -> None:
    folder.write("pipelines/tools.py", "def add(a, b=1):\n    return {'sum': a + b}\n")
    text = """
    tools: {add: "tools.py:add"}
    steps: {sum: {tool: add, with: {a: 2, b: 3}}}
    output: "{{ sum.sum }}"
    """
    result = await folder.run(text, Scripted([]))
    assert result.output == 5
    assert result.steps["sum"].calls == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise KeyError('gone')", "`bad` raised KeyError"),
        ("return object()", "returned what is not JSON"),
        ("return float('nan')", "returned what is not JSON"),
    ],
)
async def test_a_tool_that_raises_or_returns_no_json_fails_with_its_step(folder: Folder, body: str, words: str) -> None:
    folder.write("pipelines/tools.py", f"def bad():\n    {body}\n")
    result = await folder.run('tools: {bad: "tools.py:bad"}\nsteps: {use: {tool: bad}}', Scripted([]))
    assert isinstance(result.error, ToolFailed)
    assert "step `use`" in str(result.error)
    assert words in str(result.error)


async def test_a_tool_may_be_an_async_function_of_a_package(folder: Folder) -> None:
    folder.write("mine/__init__.py", "")
    folder.write("mine/tools.py", "async def twice(text):\n    return text * 2\n")
    result = await folder.run(
        'tools: {twice: "mine.tools:twice"}\nsteps: {use: {tool: twice, with: {text: ab}}}', Scripted([])
    )
    assert result.output == "abab"


async def test_a_pipeline_is_a_step_of_another(folder: Folder) -> None:
    folder.write(
        "pipelines/inner.yaml",
        """
        inputs: {word: {type: text}, tone: {default: plain}}
        steps: {say: {prompt: "Say {{ word }} in a {{ tone }} tone"}}
        output: {said: "{{ say }}"}
        """,
    )
    text = """
    inputs: {words: {type: list}}
    steps: {all: {for_each: words, as: word, pipeline: inner}}
    output: "{{ all }}"
    """
    model = by_word(**{"Say a in a plain": "A", "Say b in a plain": "B"})
    events: list[Event] = []
    result = await folder.run(text, model, {"words": ["a", "b"]}, events=events)
    assert result.output == [{"said": "A"}, {"said": "B"}]
    assert result.steps["all"].calls == 2
    assert {event.step for event in events if isinstance(event, StepFinished)} == {"all", "all.say"}


async def test_set_reaches_the_steps_of_a_sub_pipeline(folder: Folder) -> None:
    folder.write("pipelines/inner.yaml", "steps: {say: {prompt: now Say}}")
    model = Scripted(["x"])
    await folder.run("steps: {all: {pipeline: inner}}", model, sets=["all.say.options.max_tokens=7"])
    assert model.requests[0].max_tokens == 7


async def test_a_step_names_its_model_and_a_sub_pipeline_its_own(folder: Folder) -> None:
    folder.write("pipelines/inner.yaml", "model: ollama/inner\nsteps: {say: {prompt: now Say}}")
    text = """
    steps:
      one: {prompt: now one, model: ollama/small}
      two: {prompt: now two}
      three: {pipeline: inner}
    """
    models = Given(Scripted(lambda request: "x"))
    result = await folder.run(text, Scripted([]), models=models)
    assert set(models.asked_for) == {"ollama/small", None, "ollama/inner"}
    assert set(result.answered) == {"ollama/small", None, "ollama/inner"}


PRECEDENCE = """
defaults: {options: {max_tokens: 11, seed: 3}, layout: markdown}
steps:
  one: {prompt: mine, options: {temperature: 0.5}}
"""


async def test_the_first_that_is_given_holds(folder: Folder) -> None:
    folder.write("templates/prompts/mine.j2", "---\nlayout: json\noptions: {max_tokens: 22}\n---\nSay it")
    folder.write("promptkit.yaml", "model: auto\ndefaults: {options: {stop: END, max_tokens: 33}}\n")
    pipeline = folder.load(PRECEDENCE, ["one.options.temperature=0.25"])
    asking = pipeline.steps["one"].prompt_call
    assert asking is not None
    options = asking.options
    assert (options.temperature, options.max_tokens, options.seed, options.stop) == (0.25, 22, 3, ("END",))
    assert Path(asking.layout).name == "json.j2"


async def test_a_prompt_is_a_pipeline_of_one_step_named_after_it(folder: Folder) -> None:
    path = folder.write(
        "templates/prompts/mood.j2",
        """
        ---
        inputs: {text: {example: Nice.}, mood: {default: calm}}
        answer: {label: "{{ [mood, 'angry'] }}"}
        cases: [{inputs: {text: Good.}, expect: calm, name: plain}]
        ---
        How is {{ text }}
        """,
    )
    pipeline = load_target(path, folder.project)
    assert list(pipeline.steps) == ["mood"]
    assert pipeline.cases[0].expect == "calm"
    result = await run(pipeline, fill_inputs(pipeline).values, models=Given(Scripted(["calm"])))
    assert result.output == "calm"


async def test_a_prompt_gets_each_of_its_optional_inputs(folder: Folder) -> None:
    path = folder.write(
        "templates/prompts/b.j2",
        """
        ---
        inputs: {text: , n: {type: number, default: 3}, history: {default: []}}
        ---
        {% block user %}Hello {{ text }} {{ n }}{% endblock %}
        """,
    )
    pipeline = load_target(path, folder.project)
    turn = {"role": "user", "content": "Hi"}
    runtime = Scripted(["one", "two"])
    for inputs in ({"text": "x", "n": 1, "history": [turn]}, {"text": "x"}):
        result = await run(pipeline, fill_inputs(pipeline, inputs).values, models=Given(runtime))
        assert result.error is None
    assert [request.messages[0].content for request in runtime.requests] == ["Hi", "Hello x 3"]
    assert runtime.requests[0].messages[1].content == "Hello x 1"


async def test_a_default_of_null_stands(folder: Folder) -> None:
    front = "---\ninputs: {text: , name: {default: null}}\n---\n"
    path = folder.write("templates/prompts/b.j2", front + "Hello {{ text }}{% if name %} and {{ name }}{% endif %}")
    pipeline = load_target(path, folder.project)
    runtime = Scripted(["one"])
    await run(pipeline, fill_inputs(pipeline, {"text": "x"}).values, models=Given(runtime))
    assert "Hello x\n" in asked(runtime)[0]


async def test_a_step_of_a_pipeline_takes_no_optional_input_by_name(folder: Folder) -> None:
    folder.write("templates/prompts/b.j2", "---\ninputs: {text: , n: {default: 3}}\n---\nHello {{ text }} {{ n }}")
    runtime = Scripted(["one"])
    text = "inputs: {text: {}, n: {type: number}}\nsteps: {b: {prompt: b}}"
    await folder.run(text, runtime, {"text": "x", "n": 1})
    assert "Hello x 3" in asked(runtime)[0]


async def test_the_default_of_a_history_stands_where_a_step_gives_none(folder: Folder) -> None:
    front = "---\ninputs: {text: , history: {default: [{role: user, content: Hi}]}}\n---\n"
    folder.write("templates/prompts/b.j2", front + "{% block user %}Hello {{ text }}{% endblock %}")
    runtime = Scripted(["one"])
    await folder.run("inputs: {text: {}}\nsteps: {b: {prompt: b}}", runtime, {"text": "x"})
    assert [message.content for message in runtime.requests[0].messages] == ["Hi", "Hello x"]


async def test_waited_shows_the_critical_path(folder: Folder) -> None:
    async def answer(request: Request) -> str:
        await asyncio.sleep(0.05 if "slow" in said(request) else 0)
        return "x"

    text = "steps: {slow: {prompt: now slow}, quick: {prompt: now quick}, both: {prompt: '{{ slow }}{{ quick }}'}}"
    result = await folder.run(text, Scripted(answer))
    assert result.steps["slow"].waited > 0.03
    assert result.steps["quick"].waited == 0
    assert result.trace.children[0].name in ("slow", "quick")


async def test_the_store_keeps_the_run_and_its_calls(folder: Folder) -> None:
    with Store.open(folder.root / ".promptkit") as store:
        result = await folder.run(NUMBER, Scripted(["many", "7"]), store=store)
        kept = store.run("last")
        assert kept is not None
        assert kept.number == result.run
        assert (kept.status, kept.record["output"]) == ("done", 7)
        assert [call["repair"] for call in store.calls(kept.number)] == [False, True]


async def test_pieces_of_text_arrive_while_a_step_runs(folder: Folder) -> None:
    events: list[Event] = []
    await folder.run("steps: {greet: {prompt: Say hello}}", Scripted(["hello there"]), events=events)
    assert "".join(event.text for event in events if isinstance(event, TextArrived)) == "hello there"
    kinds = [type(event).__name__ for event in events if not isinstance(event, TextArrived)]
    assert kinds == ["StepStarted", "CallFinished", "StepFinished"]


async def test_strict_refuses_before_the_first_request_what_a_model_cannot_enforce(folder: Folder) -> None:
    model = Scripted([], capabilities=("chat", "continue", "stop"))
    text = "steps: {a: {prompt: now x, answer: {label: [yes, no]}}, b: {prompt: now y, options: {seed: 1}}}"
    with pytest.raises(Unsupported) as raised:
        await folder.run(text, model, settings=RunSettings(strict=True))
    assert "step `a`" in str(raised.value)
    assert "step `b`" in str(raised.value)
    assert model.requests == []


async def test_cancelling_stops_all_generation(folder: Folder) -> None:
    model = Scripted(lambda request: "x", delay=30)
    text = "inputs: {all: {type: list}}\nsteps: {each: {for_each: all, as: item, prompt: '{{ item }}'}}"
    task = asyncio.create_task(folder.run(text, model, {"all": [1, 2, 3]}))
    while len(model.requests) < 3:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert model._in_flight == 0


async def test_a_step_without_cache_is_asked_again(folder: Folder) -> None:
    text = "steps: {kept: {prompt: now kept}, fresh: {prompt: now fresh, cache: false}}"
    model = Scripted(lambda request: "x")
    with Store.open(folder.root / ".promptkit") as store:
        for _ in range(2):
            models = Given(model)
            models._default_client = Client(model, store=store)
            await folder.run(text, model, models=models)
    assert sum("kept" in text for text in asked(model)) == 1
    assert sum("fresh" in text for text in asked(model)) == 2
