"""The endpoints beside chat completions: each pipeline as JSON, the description, the page and the figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptkit.api.session import ModelOptions, load
from promptkit.errors import ConnectionFailed, InputError, MissingExtra
from promptkit.project import Project
from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import request_text
from promptkit.server.http.catalog import Catalog, load_served
from promptkit.server.schemas import input_schema, output_schema
from promptkit.storage.store import Store
from tests.server.http.serving import PIPELINES, serving, write_project


def reply(request: Request) -> str:
    return "21" if "Double" in request_text(request) else "billing"


async def test_a_pipeline_answers_its_inputs(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), reply) as served:
        status, record = await served.post("/pipelines/topic", {"inputs": {"text": "a refund"}})
        _, with_steps = await served.post("/pipelines/double", {"inputs": {"number": 10.5}, "steps": True})
    assert status == 200
    assert record.keys() == {"output", "usage", "warnings"}
    assert (record["output"], record["warnings"]) == ("billing", [])
    assert record["usage"]["total_tokens"] > 0
    assert with_steps["output"] == 21
    assert with_steps["steps"] == {"say": {"status": "done", "value": 21}}


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("topic", {}, 400, "missing inputs: `text`; `topic` takes `text`"),
        ("topic", {"inputs": {"text": 3}}, 400, "the input `text` must be a text, not a number"),
        ("topic", {"inputs": {"text": "x", "txt": "y"}}, 400, "`topic` has no input `txt`"),
        ("topic", {"inputs": [], "steps": True}, 400, "must be an object"),
        ("topic", {"text": "x"}, 400, "unknown field `text`"),
        ("nothing", {"inputs": {}}, 404, "there is no model `nothing`"),
        ("..%2Ftopic", {"inputs": {}}, 404, "there is no model"),
    ],
)
async def test_wrong_inputs_are_named(tmp_path: Path, path: str, body: object, status: int, message: str) -> None:
    async with serving(write_project(tmp_path), reply) as served:
        found, record = await served.post(f"/pipelines/{path}", body)
    assert (found, message in record["error"]["message"]) == (status, True), record
    assert served.runtime.requests == []


async def test_unknown_paths_and_methods_have_an_error_of_the_protocol(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), reply) as served:
        assert (await served.get("/nothing"))[1]["error"]["message"] == "/nothing: not found"
        assert (await served.get("/pipelines/topic"))[0] == 405
        assert (await served.get("/v1/models/topic"))[1]["id"] == "topic"
        assert (await served.get("/v1/models/nothing"))[0] == 404


async def test_the_description_has_the_schemas_of_each_pipeline(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), reply) as served:
        _, document = await served.get("/openapi.json")
    assert document["openapi"] == "3.1.0"
    operation = document["paths"]["/pipelines/topic"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert operation["summary"] == "The topic of a message."
    assert body["properties"]["inputs"] == {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "A customer's message", "examples": ["I want a refund"]}
        },
        "required": ["text"],
        "additionalProperties": False,
    }
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert answer["properties"]["output"] == {"type": "string", "enum": ["billing", "other"]}


async def test_the_page_lists_pipelines_and_loads_nothing(tmp_path: Path) -> None:
    texts = PIPELINES | {"evil": 'about: "<script>alert(1)</script>"\n' + PIPELINES["topic"].split("\n", 1)[1]}
    async with serving(write_project(tmp_path, texts), reply) as served:
        async with served.client.get(f"{served.url}/") as response:
            page = await response.text()
            policy = response.headers["Content-Security-Policy"]
        assert f"curl {served.url}/pipelines/topic" in page.replace("&#39;", "'")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "default-src 'none'" in policy
    assert str(tmp_path) not in page


async def test_the_figures_count_requests_runs_and_tokens(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), reply) as served:
        await served.post("/pipelines/topic", {"inputs": {"text": "a refund"}})
        await served.get("/made-up-1")
        await served.get("/made-up-2")
        _, text = await served.get("/metrics")
    assert 'promptkit_requests_total{route="/pipelines/{name}",status="200"} 1\n' in text
    assert 'promptkit_requests_total{route="none",status="404"} 2\n' in text
    assert 'promptkit_run_seconds_count{pipeline="topic"} 1\n' in text
    assert 'promptkit_tokens_total{pipeline="topic",direction="out"} 1\n' in text
    assert "promptkit_requests_running 0\n" in text


async def test_runs_are_kept_only_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = write_project(tmp_path)
    for keep in (False, True):
        async with serving(folder, reply, keep_runs=keep) as served:
            _, record = await served.post("/pipelines/topic", {"inputs": {"text": "a refund"}})
            assert ("run" in record) == keep
    with Store.open(Project.find(folder).store_folder) as store:
        assert [run.target for run in store.runs()] == ["topic"]


async def test_the_models_stay_open_and_are_shared(tmp_path: Path) -> None:
    async with serving(write_project(tmp_path), reply) as served:
        await served.catalog.warm_up()
        for pipeline in ("topic", "double"):
            inputs = {"text": "x"} if pipeline == "topic" else {"number": 1}
            assert (await served.post(f"/pipelines/{pipeline}", {"inputs": inputs}))[0] == 200
        assert served.opened == ["openai/test@http://127.0.0.1:9/v1"]


async def test_a_pipeline_is_answered_by_the_model_that_it_names_and_all_by_that_of_the_command(tmp_path: Path) -> None:
    named = {name: f"model: ollama/{name}\n{PIPELINES['topic']}" for name in ("small", "large")}
    folder = write_project(tmp_path, named)
    for model, opened in ((None, ["ollama/small", "ollama/large"]), ("ollama/other", ["ollama/other"])):
        async with serving(folder, reply, model=ModelOptions(no_cache=True, model=model)) as served:
            for name in ("small", "large", "small"):
                assert (await served.post(f"/pipelines/{name}", {"inputs": {"text": "a refund"}}))[0] == 200
        assert served.opened == opened


async def test_an_edit_is_served_after_a_reload_and_a_mistake_is_not(tmp_path: Path) -> None:
    folder = write_project(tmp_path)
    file = folder / "pipelines" / "topic.yaml"
    async with serving(folder, reply) as served:
        assert file in served.catalog.files()
        file.write_text(PIPELINES["topic"].replace("Give the topic", "Name the topic"))
        served.catalog.reload()
        await served.post("/pipelines/topic", {"inputs": {"text": "a refund"}})
        assert "Name the topic" in request_text(served.runtime.requests[-1])
        file.write_text("steps: {}")
        with pytest.raises(InputError):
            served.catalog.reload()
        assert (await served.post("/pipelines/topic", {"inputs": {"text": "a refund"}}))[0] == 200


def test_all_pipelines_that_load_are_served_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_project(tmp_path, {"topic": PIPELINES["topic"], "broken": "steps: {a: {}}"})
    monkeypatch.chdir(folder)
    assert list(load_served((), ModelOptions())) == ["topic"]
    watched = set(Catalog((), ModelOptions()).files())
    assert watched >= {folder / "pipelines", folder / "pipelines" / "broken.yaml", folder / "pipelines" / "topic.yaml"}
    assert "broken.yaml is not served: " in capsys.readouterr().err
    with pytest.raises(InputError):
        load_served(("broken",), ModelOptions())


def test_two_targets_of_one_name_are_an_error(tmp_path: Path) -> None:
    folder = write_project(tmp_path, {"chat": PIPELINES["topic"]})
    targets = (str(folder / "pipelines" / "chat.yaml"), str(folder / "templates" / "prompts" / "chat.j2"))
    with pytest.raises(InputError, match="two targets have the name `chat`"):
        load_served(targets, ModelOptions())


def test_a_project_without_pipelines_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="no pipeline to serve"):
        load_served((), ModelOptions())


async def test_what_cannot_run_here_is_left_out_unless_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def lacking(*_: object, **__: object) -> object:
        raise MissingExtra("it", "hub")

    monkeypatch.setattr("promptkit.runtimes.models.open_runtime", lacking)
    monkeypatch.chdir(write_project(tmp_path, {"topic": PIPELINES["topic"]}))
    async with Catalog(("topic",), ModelOptions()) as catalog:
        with pytest.raises(MissingExtra):
            await catalog.warm_up()
    async with Catalog((), ModelOptions()) as catalog:
        with pytest.raises(InputError, match="no pipeline of this project can be served"):
            await catalog.warm_up()
    assert "`topic` is not served: it needs an optional package" in capsys.readouterr().err


async def test_a_model_that_cannot_be_reached_yet_does_not_stop_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def unreachable(*_: object, **__: object) -> object:
        raise ConnectionFailed("nothing answers")

    monkeypatch.setattr("promptkit.runtimes.models.open_runtime", unreachable)
    folder = write_project(tmp_path, {"topic": PIPELINES["topic"]})
    async with Catalog((str(folder / "pipelines" / "topic.yaml"),), ModelOptions()) as catalog:
        await catalog.warm_up()
        assert list(catalog.pipelines) == ["topic"]
    assert "`topic`: nothing answers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "schema"),
    [
        ("text", {"type": "string"}),
        ("boolean", {"type": "boolean"}),
        ("{number: {min: 0}}", {"type": "number", "minimum": 0}),
        ("{label: [a, b]}", {"type": "string", "enum": ["a", "b"]}),
        ("{list: {of: text}}", {"type": "array", "items": {"type": "string", "minLength": 1}}),
    ],
)
def test_the_schema_of_an_output_is_that_of_its_answer(tmp_path: Path, answer: str, schema: object) -> None:
    text = f'inputs: {{text: {{}}}}\nsteps:\n  a: {{prompt: "Do {{{{ text }}}}", answer: {answer}}}\n'
    made = text + "output: {one: '{{ a }}', two: 2}\n"
    folder = write_project(tmp_path, {"one": text, "made": made}) / "pipelines"
    assert output_schema(load(folder / "one.yaml")) == schema
    assert output_schema(load(folder / "made.yaml")) == {"type": "object", "properties": {"one": {}, "two": {}}}


def test_each_type_of_input_has_a_schema(tmp_path: Path) -> None:
    kinds = ("text", "number", "boolean", "list", "table", "messages", "json")
    inputs = ", ".join(f"{kind}: {{type: {kind}, default: null}}" for kind in kinds[1:])
    text = f'inputs: {{text: {{choices: [a, b]}}, {inputs}}}\nsteps:\n  a: {{prompt: "Do {{{{ text }}}}"}}\n'
    schema = input_schema(load(write_project(tmp_path, {"one": text}) / "pipelines" / "one.yaml"))
    assert schema["required"] == ["text"]
    assert schema["properties"]["text"] == {"type": "string", "enum": ["a", "b"]}
    assert [schema["properties"][kind].get("type") for kind in kinds] == [
        "string",
        "number",
        "boolean",
        "array",
        "array",
        "array",
        None,
    ]
