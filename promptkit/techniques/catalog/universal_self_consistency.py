"""Universal self-consistency: the model itself picks the most consistent of several answers, also of free texts."""

from promptkit.techniques.context import Answer, Spec
from promptkit.techniques.methods.solutions import solution, with_answers
from promptkit.techniques.parameters import Count, Warmth
from promptkit.techniques.registry import technique
from promptkit.techniques.task import Task


@technique(needs={"sampling"}, calls="samples * over_calls + 1", requests="samples * over_requests + 1")
async def universal_self_consistency(
    task: Task, *, samples: Count = 5, temperature: Warmth = 0.7, over: Spec = "chain_of_thought"
) -> Answer:
    """Sample answers by `over`, show all of them and let the model pick the most consistent (Chen et al. 2023).

    Answers that do not parse are not shown. Where all others are equal, nothing is asked. Where the reply names none of
    those that were shown, the first is returned, with a warning.
    """
    sampled = await task.sample_run(over, samples, temperature=temperature)
    shown = with_answers(sampled)
    if len({task.vote_key(answer) for answer in shown}) < 2:
        return task.vote(sampled)
    solutions = [solution(task, answer) for answer in shown]
    picked = (await task.ask("select", solutions=solutions)).value
    number = 1 if picked is None else int(picked)
    return shown[number - 1].with_extra(
        candidates=[answer.value for answer in shown], picked=number, unparsed=len(sampled) - len(shown)
    )
