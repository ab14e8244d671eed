"""`adapter:` of a step: its file, the requests that carry it, and the runtimes that take none."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.engine.adapters import misfit_adapters
from promptkit.engine.dependencies import files_of, hashed_files
from promptkit.engine.heads import prompt_digest
from promptkit.engine.render import rehearse, render
from promptkit.engine.requirements import unmet_requirements
from promptkit.engine.results import Result
from promptkit.errors import InputError, Unsupported
from promptkit.evaluation.cells.keys import content_hash
from promptkit.reports.trace import rendered_text
from promptkit.runtimes.base import Reply, Request
from promptkit.runtimes.scripted import CAPABILITIES, Scripted
from promptkit.storage.file_digests import file_digest
from tests.adapters import write_adapter
from tests.command import run_command
from tests.engine.heads import Vectors, written_head
from tests.engine.helpers import Folder, Given
from tests.training.tiny_gguf import TinyShape, write_tiny

PROMPT = """
---
inputs: {review: {example: fine}}
answer: {label: [bad, good]}
---
{% block instructions %}Is the review good?{% endblock %}
{% block input %}{{ review }}{% endblock %}
"""
PIPELINE = """
inputs: {review: {example: fine}}
steps:
  sort: {prompt: ask, adapter: test.sort.lora.gguf}
"""
NAME = "test.sort.lora.gguf"
SHAPE = TinyShape(layers=1, width=32, inner=32, heads=2, kv_heads=1, head_size=16)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters of one tiny model."""
    root = tmp_path_factory.mktemp("tiny")
    model = write_tiny(root / "tiny.gguf", shape=SHAPE)
    return [write_adapter(root / f"{seed}.lora.gguf", model, seed=seed) for seed in range(2)]


@pytest.fixture
def folder(folder: Folder, files: list[Path]) -> Folder:
    folder.write("pipelines/ask.j2", PROMPT)
    put(folder, files[0])
    return folder


def put(folder: Folder, content: Path, name: str = NAME) -> Path:
    file = folder.root / "pipelines" / name
    file.write_bytes(content.read_bytes())
    return file


def carried(requests: list[Request]) -> list[str]:
    """Return the name of the adapter that each request carries, or nothing."""
    return [request.adapter.path.name if request.adapter else "" for request in requests]


async def asked(folder: Folder, text: str, *replies: str | Reply, **options: object) -> tuple[list[Request], Result]:
    """Return the requests of a run in which the model gives these replies, and its result."""
    model = Scripted(list(replies), **options)  # type: ignore[arg-type]
    result = await folder.run(text, model, {"review": "fine"})
    return model.requests, result


async def test_the_deciding_request_carries_the_adapter_by_its_digest(folder: Folder) -> None:
    (request,), result = await asked(folder, PIPELINE, "good")
    assert result.output == "good"
    assert request.adapter is not None
    assert request.adapter.digest == file_digest(folder.root / "pipelines" / NAME)
    (step,) = result.trace.children
    assert (record := step.calls[0].request.adapter) is not None and record == request.adapter
    assert "the weights that it was trained on are not known" in result.notices[0]


async def test_a_request_that_scores_carries_it(folder: Folder) -> None:
    requests, result = await asked(folder, PIPELINE.replace("adapter", "decide: score, adapter"), " good")
    assert result.output == "good"
    assert carried(requests) == [NAME]
    assert requests[0].alternatives


async def test_a_repair_carries_it(folder: Folder) -> None:
    requests, result = await asked(folder, PIPELINE.replace("adapter", "decide: generate, adapter"), "…", "good")
    assert result.output == "good"
    assert carried(requests) == [NAME, NAME]


async def test_thoughts_before_a_decided_answer_do_not_carry_it(folder: Folder) -> None:
    text = PIPELINE.replace("adapter", "technique: chain_of_thought, adapter")
    requests, _ = await asked(folder, text, "I think so.", "good")
    assert carried(requests) == ["", NAME]


async def test_a_reply_that_holds_thoughts_and_answer_carries_it(folder: Folder) -> None:
    text = PIPELINE.replace("adapter", "technique: chain_of_thought, decide: generate, adapter")
    requests, result = await asked(folder, text, "I think so. Answer: good", "good")
    assert result.output == "good"
    assert set(carried(requests)) == {NAME}


async def test_a_reply_that_a_model_thinks_for_carries_it_as_it_may_be_the_answer(folder: Folder) -> None:
    able = {"capabilities": CAPABILITIES | {"think", "thinks"}}
    requests, result = await asked(folder, PIPELINE, Reply(text="good", thoughts="Hm."), **able)
    assert result.output == "good"
    assert carried(requests) == [NAME]


async def test_the_repair_of_what_a_head_answered_carries_it(folder: Folder) -> None:
    text = PIPELINE.replace("adapter", "decide: head, guard: {expr: \"{{ result == 'bad' }}\"}, adapter")
    file = folder.write("pipelines/test.sort.head.json", "")
    call = folder.load(text).steps["sort"].prompt_call
    model = Vectors([" bad"], lambda request: (3.0, 0.0))
    assert call is not None
    file.write_text(written_head(prompt=prompt_digest(call, await model.model(), folder.project)).model_dump_json())
    assert (await folder.run(text, model, {"review": "fine"})).output == "bad"
    assert carried(model.encoded) == [""]
    assert carried(model.requests) == [NAME]


async def test_a_call_of_another_model_does_not_carry_it(folder: Folder) -> None:
    text = PIPELINE.replace("adapter", "technique: chain_of_thought, models: {reason: ollama/big}, adapter")
    big, small = Scripted(["I think so.", "good"]), Scripted(["good"])
    result = await folder.run(text, small, {"review": "fine"}, models=Given(small, **{"ollama/big": big}))
    assert result.output == "good"
    assert not small.requests
    assert carried(big.requests) == ["", ""]


async def test_the_other_steps_of_a_pipeline_do_not_carry_it(folder: Folder) -> None:
    requests, _ = await asked(folder, f"{PIPELINE}  say: {{prompt: 'Why {{{{ sort }}}}?'}}\n", "good", "because")
    assert carried(requests) == [NAME, ""]


async def test_a_step_of_a_pipeline_within_carries_its_own(folder: Folder, files: list[Path]) -> None:
    put(folder, files[1], "inner.sort.lora.gguf")
    folder.write("pipelines/inner.yaml", PIPELINE.replace(NAME, "inner.sort.lora.gguf"))
    requests, _ = await asked(folder, f"{PIPELINE}  again: {{pipeline: inner}}\n", "good", "bad")
    assert sorted(carried(requests)) == ["inner.sort.lora.gguf", NAME]


@pytest.mark.parametrize("value", ["../../outside.gguf", "/outside.gguf"])
def test_an_adapter_outside_of_the_project_is_refused(folder: Folder, value: str) -> None:
    (problem,) = folder.problems(PIPELINE.replace(NAME, value))
    assert problem.message.endswith(f"the path `{value}` leaves the project")
    assert (problem.line, problem.hint) == (3, "copy it beside the pipeline")


def test_a_link_that_leads_out_of_the_project_is_refused(folder: Folder, files: list[Path]) -> None:
    (folder.root / "pipelines" / "link.gguf").symlink_to(files[0])
    (problem,) = folder.problems(PIPELINE.replace(NAME, "link.gguf"))
    assert "leaves the project" in problem.message


async def test_a_missing_adapter_is_reported_with_the_command_that_trains_it(folder: Folder) -> None:
    (folder.root / "pipelines" / NAME).unlink()
    assert not folder.problems(PIPELINE)
    (problem,) = unmet_requirements(folder.load(PIPELINE))
    assert problem.message == "step `sort`: no such file"
    assert problem.hint == "promptkit train test --adapter --step sort --data FILE"
    (other,) = unmet_requirements(folder.load(PIPELINE.replace(NAME, "test.sort.lora.ggu")))
    assert "promptkit train" not in (other.hint or "")
    with pytest.raises(InputError, match="step `sort`: no such file"):
        await asked(folder, PIPELINE)


async def test_a_model_that_takes_no_adapters_is_an_error(folder: Folder) -> None:
    with pytest.raises(Unsupported, match="step `sort`: scripted takes no adapters") as caught:
        await asked(folder, PIPELINE, capabilities=CAPABILITIES - {"adapters"})
    assert "llama-server" in (caught.value.hint or "")


async def test_an_adapter_may_be_set_for_one_run(folder: Folder, files: list[Path]) -> None:
    other = put(folder, files[1], "other.lora.gguf")
    pipeline = folder.load(PIPELINE, sets=["sort.adapter=other.lora.gguf"])
    call = pipeline.steps["sort"].prompt_call
    assert call is not None and call.adapter == other
    plain = folder.load(PIPELINE, sets=["sort.adapter=null"]).steps["sort"].prompt_call
    assert plain is not None and plain.adapter is None


def test_the_file_is_among_those_of_the_target_and_its_content_changes_the_keys_of_cells(
    folder: Folder, files: list[Path]
) -> None:
    file = folder.root / "pipelines" / NAME
    pipeline = folder.load(PIPELINE)
    assert file in files_of(pipeline)
    assert hashed_files(pipeline)[file] == file_digest(file).encode()
    keys = []
    for content in (*files, files[0]):
        put(folder, content)
        keys.append(content_hash(folder.load(PIPELINE)))
    assert keys[0] == keys[2] != keys[1]


async def test_render_and_a_rehearsal_show_it(folder: Folder) -> None:
    model = Scripted([])
    digest = file_digest(folder.root / "pipelines" / NAME)
    shown = await render(folder.load(PIPELINE), {"review": "fine"}, models=Given(model))
    assert f"adapter {NAME} {digest[:8]}" in rendered_text(shown)
    requests = await rehearse(folder.load(PIPELINE), {"review": "fine"}, models=Given(model), step="sort", reply="bad")
    assert carried(requests) == [NAME]
    assert not model.requests


def test_a_step_within_is_checked_for_the_model_that_answers_it(folder: Folder, files: list[Path]) -> None:
    other = TinyShape(layers=1, width=32, inner=48, heads=2, kv_heads=1, head_size=16)
    for name, shape in (("fits", SHAPE), ("other", other)):
        write_tiny(folder.root / f"pipelines/{name}.gguf", shape=shape)
    folder.write("promptkit.yaml", "model: gguf:pipelines/other.gguf\n")
    folder.write("pipelines/inner.yaml", PIPELINE)
    outer = "inputs: {review: {}}\nsteps:\n  within: {pipeline: inner}\n"
    (problem,) = misfit_adapters(folder.load(outer))
    assert "as 32 × 48" in problem.message
    assert not misfit_adapters(folder.load(f"model: gguf:fits.gguf\n{outer}"))
    assert not misfit_adapters(folder.load(outer.replace("inner}", "inner, model: 'gguf:fits.gguf'}")))


def test_commands_show_the_adapter_and_its_problems(folder: Folder) -> None:
    folder.write("promptkit.yaml", "model: scripted:replies.yaml\n")
    folder.write("replies.yaml", "otherwise: good\n")
    folder.write("pipelines/test.yaml", PIPELINE)
    assert f"adapter {NAME}" in run_command("run", "test", "--dry-run", folder=folder.root).out
    traced = run_command("run", "test", "--trace", folder=folder.root)
    assert f"adapter {NAME}" in traced.out + traced.err
    assert str(folder.root) not in traced.out + traced.err
    content = (file := folder.root / "pipelines" / NAME).read_bytes()
    for damaged, problem in ((None, "no such file"), (content[:-4], "cut"), (b"text", "cut off or damaged")):
        file.unlink(missing_ok=True)
        if damaged is not None:
            file.write_bytes(damaged)
        for command in (("check", "test"), ("run", "test")):
            done = run_command(*command, folder=folder.root)
            assert done.code != 0
            assert "step `sort`" in done.out + done.err and problem in done.out + done.err
