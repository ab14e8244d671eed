"""`verify_and_edit` (Zhao et al. 2023): only where samples differ is a rationale looked up, edited and decided anew."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from promptkit.errors import InputError, Unsupported
from promptkit.runtimes.base import Reply, Request, Token
from promptkit.techniques.cost import cost
from promptkit.techniques.perform import perform
from promptkit.techniques.reading import read_sentences
from promptkit.techniques.spec import configure
from promptkit.tools.search import Documents
from tests.techniques.steps import ALL, MARKED, Bench, flat, in_order, marked_example, without

CITIES = ("Paris", "Paris", "Rome", "Rome", "Oslo")
CONFIDENT = ("Rome", "Paris", "Paris", "Paris", "Paris")
DOCUMENTS = ["DOC1 Bolivia has two capitals.", "DOC2 The seat of Peru is by the sea."]
QUESTIONS = {"OLD-S1": "VQ1 Bolivia?", "OLD-S2": "VQ2 Peru?"}
STATEMENTS = {"VQ1": "NEW-A1.", "VQ2": "NEW-A2."}
PROMPT = MARKED.replace("{question: {type: text}}", "{question: {type: text}, documents: {type: list}}")


def script(
    cities: tuple[str, ...] = CITIES,
    *,
    constrain: bool = False,
    questions: Mapping[str, str] = QUESTIONS,
    likely: Iterator[float] | None = None,
) -> Callable[[Request], Any]:
    """Return a script whose rationales are numbered; under `constrain` their answers come by a request of their own."""
    samples = iter(enumerate(cities))
    decided: dict[str, str] = {}

    def reply(request: Request) -> Any:
        text, begun = flat(request), request.begun
        if begun.endswith("Question to look up:"):
            return next((f" {made}" for old, made in questions.items() if old in text.rpartition("Sentence:")[2]), "")
        if begun.endswith("Answer:"):
            return f" {next(said for asked, said in STATEMENTS.items() if asked in text)}"
        if begun.endswith("CUE-MARK:"):
            return next((f" {city}" for thoughts, city in decided.items() if thoughts in begun), " Lima.")
        number, city = next(samples)
        if constrain:
            decided[f"PATH{number}"] = city
        thoughts = f"First, OLD-S1 PATH{number}. Second, OLD-S2."
        said = thoughts if constrain else f"{thoughts}\nCUE-MARK: {city}"
        return Reply(text=said, tokens=(Token(b"x", next(likely)),)) if likely else said

    return reply


def bench_of(folder: Path, replies: Any, **runtime: Any) -> Bench:
    return Bench(folder, replies, "text", prompt=PROMPT, **runtime)


async def ask(bench: Bench, decide: Any = "generate", documents: Any = DOCUMENTS, **parameters: Any) -> Any:
    spec = {"verify_and_edit": parameters}
    values = {"question": "QUESTION-MARK?", "documents": documents}
    answer = await perform(spec, bench.step(decide=decide, values=values))
    most = cost(configure(spec, bench.project), bench.project, decide=decide)
    assert most.requests >= len(bench.records)
    assert most.depth >= max(record.level for record in bench.records)
    return answer


def texts_of(bench: Bench, call: str) -> list[str]:
    return [flat(record.request) for record in bench.records if record.call == call]


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was searched for."""
    asked: list[str] = []
    plain = Documents.retrieve

    def retrieve(documents: Documents, query: str, count: int = 3) -> Any:
        asked.append(query)
        return plain(documents, query, count)

    monkeypatch.setattr(Documents, "retrieve", retrieve)
    return asked


@pytest.mark.parametrize(("decide", "requests"), [("generate", 5), ("constrain", 10)])
async def test_where_enough_paths_agree_nothing_is_looked_up(
    tmp_path: Path, queries: list[str], decide: str, requests: int
) -> None:
    bench = bench_of(tmp_path, script(CONFIDENT, constrain=decide == "constrain"))

    answer = await ask(bench, decide)

    assert (answer.value, len(bench.texts), queries) == ("Paris", requests, [])
    assert all(request.temperature > 0 for request in bench.runtime.requests[:5])
    assert len({request.sample for request in bench.runtime.requests[:5]}) == 5


@pytest.mark.parametrize(("decide", "requests"), [("generate", 10), ("constrain", 15)])
async def test_where_paths_differ_the_answer_comes_from_the_edited_rationale(
    tmp_path: Path, queries: list[str], decide: str, requests: int
) -> None:
    bench = bench_of(tmp_path, script(constrain=decide == "constrain"))

    answer = await ask(bench, decide)

    asked, verified = texts_of(bench, "question"), texts_of(bench, "verify")
    assert (answer.value, len(bench.texts)) == ("Lima.", requests)
    assert sorted(queries) == ["VQ1 Bolivia?", "VQ2 Peru?"]
    assert in_order(asked[0], ["QUESTION-MARK", "First, OLD-S1 PATH0."]) and "OLD-S2" not in asked[0]
    assert in_order(verified[0], ["DOC1", "VQ1"]) and in_order(verified[1], ["DOC2", "VQ2"])
    assert not any("OLD-S" in text or "DOC2" in text.partition("VQ1")[0] for text in verified[:1])
    assert in_order(bench.texts[-1], ["QUESTION-MARK", "NEW-A1. NEW-A2.", "CUE-MARK:"])
    assert "OLD-S" not in bench.texts[-1]
    assert [each["statement"] for each in answer.extra["edits"]] == ["NEW-A1.", "NEW-A2."]


async def test_samples_and_sentences_may_run_at_once(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, script())

    await ask(bench)

    assert dict(bench.levels) == {"reason": 1, "question": 2, "verify": 3, "answer": 4}


@pytest.mark.parametrize(("decide", "sizes"), [("generate", (10, 4)), ("constrain", (15, 5))])
async def test_the_formula_is_what_is_asked_at_the_caps(tmp_path: Path, decide: Any, sizes: tuple[int, int]) -> None:
    bench = bench_of(tmp_path, script(constrain=decide == "constrain"))

    await ask(bench, decide, sentences=2)

    most = cost(configure({"verify_and_edit": {"sentences": 2}}, bench.project), bench.project, decide=decide)
    assert (most.requests, most.depth) == (len(bench.texts), max(record.level for record in bench.records)) == sizes


async def test_the_threshold_is_a_count_of_votes(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, script())

    answer = await ask(bench, threshold=2)

    assert (answer.value, len(bench.texts)) == ("Paris", 5)


@pytest.mark.parametrize(
    ("samples", "votes", "calls"), [(1, 1, 6), (2, 2, 2), (2, 1, 7), (4, 3, 4), (4, 2, 9), (5, 3, 5)]
)
async def test_more_than_half_of_the_votes_are_enough(tmp_path: Path, samples: int, votes: int, calls: int) -> None:
    bench = bench_of(tmp_path, script(("Paris",) * votes + ("Rome", "Oslo")))

    await ask(bench, samples=samples)

    assert len(bench.texts) == calls


async def test_a_threshold_that_cannot_be_reached_is_an_error_before_the_first_call(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, script())

    with pytest.raises(InputError, match="2 `samples` cannot reach a `threshold` of 3 votes"):
        await ask(bench, samples=2, threshold=3)

    assert not bench.records


async def test_a_server_that_gives_no_log_probabilities_after_all_is_asked_without_them(tmp_path: Path) -> None:
    plain = script(CONFIDENT)

    def reply(request: Request) -> Any:
        if request.alternatives:
            raise Unsupported("the server gives no log-probabilities")
        return plain(request)

    bench = bench_of(tmp_path, reply)

    answer = await ask(bench)

    assert (answer.value, len(bench.records)) == ("Paris", 5)
    assert bench.notices == ["the server gives no log-probabilities; replies are compared without them"] * 5


async def test_votes_are_counted_by_value(tmp_path: Path) -> None:
    replies = [f"OLD-S1 so.\nCUE-MARK: {said}" for said in ("26", "26.0", "$26", "3", "4")]
    bench = Bench(tmp_path, replies, "number", prompt=PROMPT)

    answer = await ask(bench)

    assert (answer.value, len(bench.texts)) == (26, 5)


async def test_the_likeliest_path_to_the_first_answer_is_edited(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, script(likely=iter([-2.0, -1.0, -0.1, -0.1, -0.1])))

    await ask(bench)

    assert "PATH1" in texts_of(bench, "question")[0]


async def test_without_log_probabilities_the_first_path_to_it_is_edited(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, script(("Oslo", "Rome", "Paris", "Paris", "Rome")), capabilities=without("logprobs"))

    await ask(bench)

    assert "PATH1" in texts_of(bench, "question")[0]
    assert all(request.alternatives == 0 for request in bench.runtime.requests)


async def test_a_sentence_for_which_nothing_is_found_stays(tmp_path: Path) -> None:
    questions = {"OLD-S1": "Unheard?", "OLD-S2": "VQ2 Peru?"}
    bench = bench_of(tmp_path, script(questions=questions))

    answer = await ask(bench)

    assert (answer.value, len(bench.texts), len(texts_of(bench, "verify"))) == ("Lima.", 9, 1)
    assert "First, OLD-S1 PATH0. NEW-A2." in bench.texts[-1]
    assert bench.warned == ["no_passage"]


async def test_sentences_beyond_the_cap_are_left_out(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, script())

    answer = await ask(bench, sentences=1)

    assert (answer.extra["capped"], bench.warned) == (True, ["capped"])
    assert "NEW-A1." in bench.texts[-1] and "NEW-A2." not in bench.texts[-1]


async def test_paths_without_any_answer_are_verified_too(tmp_path: Path) -> None:
    replies = ["OLD-S1 PATH0."] * 2
    plain = script()
    queue = iter(replies)
    bench = Bench(
        tmp_path,
        lambda request: plain(request) if request.begun else next(queue),
        {"label": ["Lima", "Rome"]},
        prompt=PROMPT,
    )

    answer = await ask(bench, samples=2)

    assert (answer.value, answer.extra["unparsed"]) == ("Lima", 2)


async def test_documents_may_lie_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    for number, text in enumerate(DOCUMENTS):
        (tmp_path / "texts" / f"{number}.md").write_text(text)
    bench = Bench(tmp_path, script(), "text", prompt=MARKED)

    step = bench.step(decide="generate", folder=tmp_path)
    answer = await perform({"verify_and_edit": {"folder": "texts"}}, step)

    assert (answer.value, len(bench.texts)) == ("Lima.", 10)


async def test_without_documents_nothing_is_asked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, script(CONFIDENT), "text", prompt=MARKED)

    with pytest.raises(Unsupported, match="needs documents"):
        await perform("verify_and_edit", bench.step())

    assert bench.texts == []


async def test_each_call_shows_and_hides(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, script())
    values = {"question": "QUESTION-MARK?", "documents": DOCUMENTS}

    await perform("verify_and_edit", bench.step(decide="generate", values=values, examples=(marked_example("seven"),)))

    assert {*bench.shown} == {
        ("reason", ALL),
        ("question", "persona instructions constraints context output_format input"),
        ("verify", "persona"),
        ("answer", ALL),
    }
    assert in_order(bench.texts[-1], ["THOUGHTS-MARK", "CUE-MARK: seven", "NEW-A1."])


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("First, one. Second, two!", ["First, one.", "Second, two!"]),
        ("1. One is 3.5 high. Is it?\n- Two\n\n2) Two", ["One is 3.5 high.", "Is it?", "Two"]),
        ("\n ", []),
    ],
)
def test_a_rationale_is_cut_at_its_sentences_and_lines(text: str, sentences: list[str]) -> None:
    assert read_sentences(text) == sentences
