"""A teacher in a tuning: when it is asked, what becomes of what it proposes, and that it sees no confirm row."""

from __future__ import annotations

import asyncio
from asyncio import StreamWriter

import pytest

from promptkit.errors import InputError
from promptkit.project import Project
from promptkit.runtimes.base import Model, Request
from promptkit.runtimes.client import Client
from promptkit.runtimes.models import Models
from promptkit.runtimes.references import open_runtime
from promptkit.runtimes.scripted import Scripted, request_text
from promptkit.tuning.progress import TuningProgress
from promptkit.tuning.proposals.proposer import Proposer
from promptkit.tuning.proposals.teacher import find_teacher, named_teacher
from promptkit.tuning.search_space.candidate import Candidate
from tests.engine.helpers import Folder
from tests.runtimes.servers.fault_server import Misdeed, answers, faulty, sends
from tests.tuning.evaluators import open_evaluator
from tests.tuning.logs import numbers_in, sides
from tests.tuning.tunings import Ran, TuneBench, luck, row_of, truth

CALLS = 700
LISTED = b'{"data": [{"id": "large"}]}'
STREAMED = b'data: {"choices": [{"delta": {"content": "OK"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
KIND = "Judge with kindness whether what is said is good or bad, whoever may have said it."


class Pupil:
    """A model that is better with kind instructions, and as a teacher proposes them: one text after the other."""

    def __init__(self, *proposals: str, share: float = 0.55) -> None:
        self.proposals = proposals
        self.share = share
        self.lessons: list[str] = []

    def __call__(self, request: Request) -> str:
        text = request_text(request)
        if "were wrong" in text:
            self.lessons.append(text)
            return f"```\n{self.proposals[int(request.sample) % len(self.proposals)]}\n```"
        share = 0.97 if "kindness" in text else self.share
        return truth(row_of(request) + (not luck(row_of(request), share)))


@pytest.fixture
def bench(folder: Folder) -> TuneBench:
    return TuneBench(folder, 150)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[TuneBench, Pupil, Ran]:
    """Return a tuning with a teacher, its bench and its model; all are read only."""
    bench, pupil = TuneBench(Folder(tmp_path_factory.mktemp("taught")), 150), Pupil(KIND)
    return bench, pupil, asyncio.run(bench.tune(pupil, calls=CALLS, teacher="embedded"))


def test_what_a_teacher_proposes_is_raced_and_may_be_picked(taught: tuple[TuneBench, Pupil, Ran]) -> None:
    _, pupil, ran = taught

    assert pupil.lessons
    assert ran.record["best"]["choices"]["mood.wording"].startswith("teacher")
    assert ran.record["verdict"] == "improved"
    assert ran.record["calls"] <= CALLS
    assert "wording" in [entry["name"] for entry in ran.record["stages"]]


async def test_a_teacher_is_asked_again_about_what_its_better_proposal_gets_wrong(bench: TuneBench) -> None:
    steps = ["Judge with care.", "Judge with care and patience.", "Judge with care, patience and kindness."]
    lessons: list[int] = []

    def script(request: Request) -> str:
        text = request_text(request)
        step = 1 + sum(word in text for word in ("care", "patience", "kindness"))
        if "were wrong" in text:
            lessons.append(step)
            return f"```\n{steps[min(step, 3) - 1]}\n```"
        number = row_of(request)
        return truth(number + (not luck(number, 0.2 * step)))

    ran = await bench.tune(script, calls=2500, teacher="embedded", only=("wording",))

    assert set(lessons) == {1, 2, 3}
    wordings = [entry for entry in ran.record["stages"] if entry["name"] == "wording"]
    assert len(wordings) == 3
    assert ran.record["best"]["choices"] == {"mood.wording": "teacher 3"}


@pytest.mark.parametrize(
    ("option", "settings", "named"),
    [
        (None, "", None),
        (None, "teacher: ollama/large", "ollama/large"),
        ("ollama/larger", "teacher: ollama/large", "ollama/larger"),
        ("none", "teacher: ollama/large", "none"),
        (None, "teacher: none", "none"),
    ],
)
def test_the_project_names_its_teacher_once_and_the_option_another(
    folder: Folder, option: str | None, settings: str, named: str | None
) -> None:
    folder.write("promptkit.yaml", settings)

    assert named_teacher(option, Project.find(folder.root)) == named


def test_a_wrong_teacher_of_the_project_is_told_with_its_place(folder: Folder) -> None:
    folder.write("promptkit.yaml", "teacher: nobody/large")

    with pytest.raises(InputError, match=r"teacher of promptkit.yaml: `nobody/large`"):
        named_teacher(None, Project.find(folder.root))


async def test_nobody_proposes_where_none_is_named(bench: TuneBench) -> None:
    pupil = Pupil(KIND)
    ran = await bench.tune(pupil, calls=400, teacher="none", only=("wording",))

    assert pupil.lessons == []
    assert not any("teacher" in note for note in ran.record["notes"])


@pytest.mark.parametrize(
    "last",
    [sends(b""), answers(b"no JSON"), answers(b"oops", status="500 Internal Server Error")],
    ids=["hangs up", "answers nonsense", "fails"],
)
async def test_a_teacher_that_is_gone_in_the_middle_ends_its_proposals_and_not_the_tuning(
    folder: Folder, last: Misdeed
) -> None:
    bench = TuneBench(folder, 60)
    async with faulty(sends(b"")) as server:

        async def described(writer: StreamWriter) -> None:
            is_chat = "completions" in server.heads[-1]
            kind = "text/event-stream" if is_chat else "application/json"
            await answers(STREAMED if is_chat else LISTED, Content_Type=kind)(writer)

        server.misdeed = described
        reference = f"openai/large@{server.url}"
        teacher = await open_runtime(reference, base=bench.folder.root)
        await teacher.model()
        server.misdeed = last
        pupil, only = Pupil(KIND, share=0.3), ("wording",)
        ran = await bench.tune(pupil, calls=260, only=only, teacher=reference, others={reference: teacher})
        await teacher.close()

    assert ran.record["status"] == "done"
    assert len([note for note in ran.record["notes"] if "the teacher is gone" in note]) == 1
    assert not any("is refused" in note for note in ran.record["notes"])


def test_a_teacher_is_shown_no_confirm_row(taught: tuple[TuneBench, Pupil, Ran]) -> None:
    bench, pupil, _ = taught
    shown = {number for lesson in pupil.lessons for number in numbers_in(lesson)}

    assert shown
    assert shown <= set(sides(bench).order)


@pytest.mark.parametrize("proposal", ["", "Say whether it is good or bad."])
async def test_a_proposal_that_may_not_be_tried_is_told_and_the_tuning_goes_on(bench: TuneBench, proposal: str) -> None:
    ran = await bench.tune(Pupil(proposal), calls=CALLS, teacher="embedded", only=("wording",))

    assert ran.record["status"] == "done"
    assert "wording" not in [entry["name"] for entry in ran.record["stages"]]
    assert any("a proposal for `mood` is refused" in entry for entry in ran.record["notes"])


async def test_a_teacher_is_not_asked_where_next_to_nothing_fails(bench: TuneBench) -> None:
    pupil = Pupil(KIND, share=0.98)
    ran = await bench.tune(pupil, calls=CALLS, teacher="embedded", only=("wording",))

    assert pupil.lessons == []
    assert any("the teacher is not asked" in entry for entry in ran.record["notes"])


async def test_a_teacher_is_not_asked_where_wording_is_not_to_vary(bench: TuneBench) -> None:
    pupil = Pupil(KIND)
    await bench.tune(pupil, calls=CALLS, teacher="embedded", only=("layout",))

    assert pupil.lessons == []


async def test_a_winner_is_asked_more_rows_until_a_teacher_has_failures_enough_and_no_further_than_calls_hold(
    bench: TuneBench,
) -> None:
    order = range(60)
    for calls, rows in ((60, 30), (30, 20), (15, 10)):  # Every third row fails; a tenth is asked already.
        async with open_evaluator(bench, fails_each_third, bench.start()) as opened:
            proposer = Proposer(opened.evaluator, None, "mood", None, TuningProgress())  # type: ignore[arg-type]
            await opened.evaluator.evaluate([Candidate()], order[:10])
            found = await proposer.rows_to_learn_from(Candidate(), order, 10, calls, of=60)

            assert list(found) == list(order[:rows])


def fails_each_third(request: Request) -> str:
    return truth(row_of(request) + (row_of(request) % 3 == 0))


class Asked(Models):
    """Models that note which are asked for."""

    def __init__(self) -> None:
        super().__init__("auto")
        self.names: list[str | None] = []

    async def get(self, reference: str | None = None) -> Client:
        self.names.append(reference)
        return Client(Scripted([]))


@pytest.mark.parametrize(
    ("named", "reference", "asked"),
    [
        ("ollama/large", "ollama/qwen2.5:0.5b", ["ollama/large"]),
        (None, "ollama/qwen2.5:7b", ["own"]),
        (None, "ollama/qwen2.5:0.5b", []),
    ],
)
async def test_who_was_named_teaches_else_the_tuned_model_where_it_is_large(
    named: str | None, reference: str, asked: list[str]
) -> None:
    models, progress = Asked(), TuningProgress()
    model = Model(reference=reference, digest="d", capabilities=frozenset())
    found = await find_teacher(named, "own", model, models, progress)

    assert models.names == asked
    assert (found is None) == (not asked)
    assert bool(progress.notes) == (not asked)
