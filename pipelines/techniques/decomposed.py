"""The handlers of decomposed.yaml that need no model."""

import json


def split(question: str) -> list[str]:
    """Return the words of what stands in quotes."""
    return question.split('"')[1].split()


def merge(question: str) -> str:
    """Return the texts of the list in a question, put together."""
    items = json.loads(question[question.index("[") : question.rindex("]") + 1])
    return "".join(map(str, items))
