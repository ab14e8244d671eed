"""The tasks of `teach.py`: a public one and two that templates make, whose answers need the definition of the task."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final

from measured_tasks import TIMEOUT_SECONDS, rows_of_file

SENTIMENT: Final = """\
name: sst2
inputs: {text: {type: text}}
steps:
  sentiment:
    prompt: {instructions: Classify the sentiment of the review as positive or negative., input: "{{ text }}"}
    answer: {label: [positive, negative]}
"""
OWNER: Final = """\
name: owner
inputs: {text: {type: text}}
steps:
  owner:
    prompt:
      instructions: >-
        Who has to act next on this mail to an online shop? It is who can do the missing thing, not who is mentioned.
      input: "{{ text }}"
    answer:
      label:
        shop: something was never sent, was sent wrong, or has to be changed in the shop
        carrier: a parcel has left the shop and is lost, late or broken on its way
        bank: money has been moved, held or refused
        customer: the shop has asked for something and waits for the reply
"""
ORDER: Final = """\
name: order
inputs: {text: {type: text}}
steps:
  order:
    prompt:
      instructions: >-
        Write what is ordered now as `NUMBER x COLOUR THING @ DD.MM`, such as `4 x red lamp @ 05.11`: digits, the thing
        in the singular, and the day on which it has to be there. If the mail corrects itself, the correction counts.
      input: "{{ text }}"
    answer: text
    options: {max_tokens: 32}
"""
SUITE: Final = """\
data: {rows}.jsonl
target: {name}
expect: "{{{{ row.label }}}}"
metrics: {{accuracy: {metric}}}
"""

Row = Mapping[str, str]


def _words(text: str) -> list[str]:
    return text.split()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaughtTask:
    """A task: its pipeline in YAML, its step and metric, and its rows, of which the first argument names the folder.

    `rows` returns distinct rows `{text, label}` to teach by and to measure on, by a seed where they are made.
    """

    pipeline: str
    metric: str
    rows: Callable[[Path | None], tuple[Sequence[Row], Sequence[Row]]]
    is_closed: bool = True

    @property
    def name(self) -> str:
        """The name of the pipeline, and of the task on the command line."""
        return self.pipeline.splitlines()[0].removeprefix("name: ")

    @property
    def step(self) -> str:
        """The name of its only step."""
        return self.pipeline.split("steps:\n  ")[1].partition(":")[0]

    def write(self, folder: Path, suites: Mapping[str, Sequence[Row]]) -> None:
        """Write its pipeline and a suite for each name with its rows into a project."""
        for name in ("pipelines", "evals"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "promptkit.yaml").write_text(f"timeout: {TIMEOUT_SECONDS}\n", "utf-8")
        (folder / f"pipelines/{self.name}.yaml").write_text(self.pipeline, "utf-8")
        for name, rows in suites.items():
            text = SUITE.format(rows=name, name=self.name, metric=self.metric)
            (folder / f"evals/{name}.yaml").write_text(text, "utf-8")
            lines = (json.dumps(row, ensure_ascii=False) for row in rows)
            (folder / f"evals/{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")


TAUGHT, UNSEEN = 1_200, 500
"""The numbers of rows that templates make, to teach by and to measure on."""
TAUGHT_SITUATIONS: Final = 7
"""So many of a label's ten situations are in rows to teach by: three of ten rows to measure on are of others."""
NAMES: Final = _words(
    "Ana Ben Cleo Dov Edda Finn Gita Hugo Ines Jan Kira Leo Mona Nils Olga Paul Rita Sam Tess Udo Vera Wim"
)
THINGS: Final = _words(
    """lamp chair kettle blanket mirror basket vase clock candle bottle ladder bucket hammer jacket scarf wallet
umbrella suitcase guitar drum tent helmet racket puzzle kite globe notebook tray bowl mug plate pan apron towel pillow
tablet stool bench rug curtain"""
)
CITIES: Final = _words(
    "Basel Ghent Lyon Porto Turin Graz Bergen Cork Lublin Tartu Bilbao Malmo Ulm Trier Nantes Delft Siena"
)
COLOURS: Final = _words("red blue green black white yellow grey brown orange purple silver golden")
MONTHS: Final = _words("January February March April May June July August September October November December")
WEEKDAYS: Final = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")

SITUATIONS: Final[Mapping[str, Sequence[str]]] = {
    "shop": (
        "The tracking page still says that a label was printed on {day} and nothing was handed over.",
        "There is a {other} in the box, although the invoice says {thing}.",
        "Please put my new street in {city} on the order, which is not packed yet.",
        "The {thing} came without its screws, and the box was sealed.",
        "Your page shows the {thing} twice in my basket, and I can only pay for both.",
        "I sent the {thing} back in {month}, you confirmed that it is there, and no one has decided about it.",
        "The {thing} is one size smaller than the page says; all of them are, says your leaflet.",
        "My voucher from {month} is refused at the checkout although it is valid until next year.",
        "You promised an invoice with our tax number by {day}, and it is not in my account.",
        "The {thing} was to be engraved, and it came plain, in perfect packing.",
    ),
    "carrier": (
        "It was scanned in {city} on {day} and has not moved since.",
        "The driver noted that nobody was in, while three of us sat beside the door.",
        "The box was wet and torn when it was handed to me, and the {thing} in it is in pieces.",
        "It went to {city}, where I have never lived, though the label in your photo is right.",
        "The depot in {city} says that it is on the van, and it has said so for {number} days.",
        "A neighbour signed for the {thing}, says the message, but the name is of nobody in this house.",
        "It was to be left in the locker, and the locker that opened was empty.",
        "Two of three boxes are here; the third left your hall together with them on {day}.",
        "The window for delivery was {day} morning, and it is evening two days later.",
        "Customs let the {thing} go in {city} {number} days ago; after that there is no entry.",
    ),
    "bank": (
        "My account shows the amount for the {thing} twice, and you have received it once.",
        "You sent the money back on {day}, as your receipt says, and it has not arrived here.",
        "My card is refused although there is enough on it; your page says that the issuer declines.",
        "The transfer of {month} was returned to me with the note that the account number is closed.",
        "The amount is held on my card for {number} days although you released it.",
        "An instalment for the {thing} was drawn in {month} after the last one that was agreed with the lender.",
        "I paid in euros, and what was drawn is a tenth higher by a rate that you did not set.",
        "The direct debit came back with a fee, though your collection was on the right day.",
        "Your receipt says paid, and my statement says that the payment is pending since {day}.",
        "I disputed the payment for the {thing}, you agreed in {month}, and the dispute is still open there.",
    ),
    "customer": (
        "You asked for a photo of the {thing} on {day}; I have not had the time to take one.",
        "I still have to print the return label that you sent, and will bring the {thing} away then.",
        "Which of the two colours I want instead, as you ask, I shall decide with my sister in {city}.",
        "The form for the guarantee is with me since {day}, and I have yet to sign it.",
        "You need the number on the bottom of the {thing}, which is in our cellar in {city}.",
        "I have your two offers, a refund or another {thing}, and cannot make up my mind yet.",
        "The deposit for the {thing} is due on {day}; I shall pay it when my wages are here.",
        "You proposed three dates for the collection, and I have to ask at work which one suits.",
        "The link to confirm my address is in my mailbox, and I have not opened it so far.",
        "You wait for the measures of our door, and I cannot find the rule.",
    ),
}
BEGINNINGS: Final = (
    "It is about the {thing} that I ordered in {month}.",
    "Order {code}: a {thing}, for {city}.",
    "I bought a {thing} from you.",
    "My {thing}, order {code}.",
    "Once more about the {thing} for my {relative}.",
    "We talked on the phone on {day} about a {thing}.",
    "A {thing} was to be a present for my {relative}.",
    "Hello, this is about {code}.",
)
ASIDES: Final = (
    "My bank is in {city}, by the way, and very slow.",
    "The driver of the parcel service was friendly last time.",
    "I have been a customer of your shop since {month}.",
    "I shall be in {city} until {day}.",
    "My {relative} pays by card, I never do.",
    "The last parcel, with a {other}, came in time.",
    "Your shop in {city} was closed, so I write.",
    "You need not call; I read my mail on {day}.",
    "I paid at once, as always.",
    "Please do not ask me for a photo of the {other} again.",
    "",
    "",
)
ENDINGS: Final = (
    "Who sees to it?",
    "What happens now?",
    "Please tell me what comes next.",
    "I wait for news.",
    "Thanks.",
    "",
)
RELATIVES: Final = _words("sister brother aunt uncle neighbour colleague mother father cousin")


def owner_rows(*, taught: bool, seed: int = 0) -> Iterator[Row]:
    """Yield distinct mails with who has to act, each label as often; some situations are in no row to teach by."""
    chance, seen = Random(f"owner {taught} {seed}"), set[str]()
    while True:
        for label in chance.sample(list(SITUATIONS), len(SITUATIONS)):
            situations = SITUATIONS[label][:TAUGHT_SITUATIONS] if taught else SITUATIONS[label]
            parts = [chance.choice(some) for some in (BEGINNINGS, situations, ASIDES, ENDINGS)]
            if chance.random() < 0.4:
                parts[1], parts[2] = parts[2], parts[1]
            text = " ".join(filter(None, parts)).format(**_slots(chance)) + f" {chance.choice(NAMES)}"
            if text not in seen:
                seen.add(text)
                yield {"text": text, "label": label}


def _slots(chance: Random) -> dict[str, str]:
    thing, other = chance.sample(THINGS, 2)
    return {
        "thing": thing,
        "other": other,
        "city": chance.choice(CITIES),
        "month": chance.choice(MONTHS),
        "day": chance.choice(WEEKDAYS),
        "relative": chance.choice(RELATIVES),
        "number": str(chance.randint(3, 19)),
        "code": f"{chance.choice('ABCDEFGH')}{chance.randint(1_000, 9_999)}",
    }


NUMBERS: Final = _words("two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen")
ORDINALS: Final = _words(
    """first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth
fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"""
)
REQUESTS: Final = (
    "Could you send us {count} {colour} {things} by {date}?",
    "We need {count} {things} in {colour}, here on {date} at the latest.",
    "Please put down {count} {colour} {things} for us; we open on {date} and they have to be there.",
    "For {date}: {count} {things}, {colour} ones, as agreed.",
    "Our {relative} wants {colour} {things}, {count} of them, and they should be in {city} on {date}.",
    "I would like to order {things}. {Count}, all {colour}. They have to arrive on {date}.",
    "By {date} we are short of {colour} {things}: let us have {count}.",
)
CORRECTIONS: Final = (
    "No, make that {count}.",
    "Sorry, {date} is when they have to be here, not earlier.",
    "On second thought, rather {colour} than what I wrote.",
)
PAST: Final = (
    "Last {month} we had {count} {other}s from you, and were content.",
    "The {other}s of order {code} were {colour} and too small.",
    "You are closed on {date}, I read.",
    "We still have {count} {other}s in {city}.",
    "The bill for the {colour} {other}s is paid.",
    "",
    "",
    "",
)


def order_rows(*, taught: bool, seed: int = 0) -> Iterator[Row]:
    """Yield distinct orders with what is ordered in the fixed form."""
    chance, seen = Random(f"order {taught} {seed}"), set[str]()
    while True:
        slots, wanted = _slots(chance), _wanted(chance)
        request = chance.choice(REQUESTS).format(**slots, **wanted.shown, things=f"{slots['thing']}s")
        if chance.random() < 0.35:
            corrected, kind = _wanted(chance), chance.randrange(len(CORRECTIONS))
            request += f" {CORRECTIONS[kind].format(**corrected.shown)}"
            parts = [wanted.number, wanted.date, wanted.colour]
            parts[kind] = [corrected.number, corrected.date, corrected.colour][kind]
            wanted = _Wanted(parts[0], parts[1], parts[2], {})
        past = chance.choice(PAST).format(**slots, **_wanted(chance).shown)
        text = " ".join(
            filter(None, [*([past, request] if chance.random() < 0.6 else [request, past]), chance.choice(NAMES)])
        )
        if text not in seen:
            seen.add(text)
            yield {"text": text, "label": f"{wanted.number} x {wanted.colour} {slots['thing']} @ {wanted.date}"}


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A number, a date as DD.MM and a colour, with the words that a mail shows for them."""

    number: str
    date: str
    colour: str
    shown: Mapping[str, str]


def _wanted(chance: Random) -> _Wanted:
    number, day, month = chance.randint(2, 15), chance.randint(1, 20), chance.randrange(12)
    count = chance.choice([str(number), NUMBERS[number - 2]]) if number != 12 else chance.choice(["12", "a dozen"])
    date = chance.choice(
        [f"the {ORDINALS[day - 1]} of {MONTHS[month]}", f"{MONTHS[month]} {day}", f"{day} {MONTHS[month][:3]}."]
    )
    colour = chance.choice(COLOURS)
    shown = {"count": count, "Count": count.capitalize(), "date": date, "colour": colour}
    return _Wanted(str(number), f"{day:02}.{month + 1:02}", colour, shown)


def _made(rows: Callable[..., Iterator[Row]]) -> Callable[[Path | None], tuple[Sequence[Row], Sequence[Row]]]:
    def both(data: Path | None) -> tuple[Sequence[Row], Sequence[Row]]:
        taught = list(islice(rows(taught=True), TAUGHT))
        known = {row["text"] for row in taught}
        return taught, list(islice((row for row in rows(taught=False) if row["text"] not in known), UNSEEN))

    return both


def _reviews(data: Path | None) -> tuple[Sequence[Row], Sequence[Row]]:
    """Return the last 400 rows of `dev` to measure on, and the others, with `train`, to teach by."""
    if data is None:
        raise SystemExit("--data: the folder with sst2/train.jsonl and sst2/dev.jsonl, rows of `text` and `label`")
    train, dev = (list(rows_of_file(data / f"sst2/{name}.jsonl")) for name in ("train", "dev"))
    return [*train, *dev[:-400]], dev[-400:]


TASKS: Final = {
    task.name: task
    for task in (
        TaughtTask(pipeline=SENTIMENT, metric="label", rows=_reviews),
        TaughtTask(pipeline=OWNER, metric="label", rows=_made(owner_rows)),
        TaughtTask(pipeline=ORDER, metric="exact", rows=_made(order_rows), is_closed=False),
    )
}
