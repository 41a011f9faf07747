"""Calls that an agent's own code makes one after the other. Each label is a person's.

``ask(question)`` asks the model, which gives the answers that are listed here, in turn.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
import sqlite3
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import causepath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass(frozen=True)
class Code:
    """What an agent does. ``way``: how a later call needs an earlier one, or why none does."""

    way: str
    run: Callable[[Any], Any]
    answers: Sequence[str]
    dependent: bool
    name: str = ""


LOOPS: list[Code] = []


def needs(way: str, *answers: str) -> Callable[[Any], Any]:
    return _labelled(way, answers, dependent=True)


def free(way: str, *answers: str) -> Callable[[Any], Any]:
    return _labelled(way, answers, dependent=False)


def _labelled(way: str, answers: Sequence[str], *, dependent: bool) -> Callable[[Any], Any]:
    def labelled(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
        LOOPS.append(Code(way, run, answers, dependent))
        return run

    return labelled


CHAPTERS = ("The ship leaves the harbour.", "A storm comes up.", "An island is seen.")
CITIES = ("Lisbon", "Porto", "Faro")
TOLD = (
    "The hero goes on a long journey and leaves the harbour of his youth behind.",
    "Wind and waves hit the ship so hard that the mast breaks in two.",
    "Land at last: sand, palms and a spring with clear water.",
)
LABELS = ("positive", "negative", "neutral")
DOCS = (
    "Our returns policy says that goods can be sent back within thirty days, unopened. " * 8,
    "Employees are asked to lock their screens whenever they leave the desk for a while. " * 8,
    "The canteen opens at noon and serves soup, salad and one warm dish on working days. " * 8,
)
SUMS = (
    "Goods may come back for a month if nobody has opened them.",
    "Screens have to be locked when nobody sits there.",
    "Lunch starts at twelve with three things to choose from.",
)

# -- each call needs an earlier one


@needs("the whole answer", *TOLD)
def rolling(ask: Any) -> None:
    story = "Nothing yet"
    for chapter in CHAPTERS:
        story = ask(f"So far: {story} Go on with: {chapter}")


@needs("its first characters", *TOLD)
def rolling_title(ask: Any) -> None:
    story = "Nothing yet"
    for chapter in CHAPTERS:
        story = ask(f"So far: {story}. Go on with: {chapter}")[:24]


@needs("its last word", *TOLD)
def last_word(ask: Any) -> None:
    word = "once"
    for chapter in CHAPTERS:
        word = ask(f"Begin with {word}: {chapter}").rstrip(".").split()[-1]


@needs("one word", "calm", "angry", "sad")
def mood(ask: Any) -> None:
    feeling = "glad"
    for chapter in CHAPTERS:
        feeling = ask(f"The hero is {feeling}. How is he after this? {chapter}")


@needs("one number", "There are 41 men.", "Now 38 are left.", "Only 12 are left.")
def number(ask: Any) -> None:
    men = "50"
    for chapter in CHAPTERS:
        men = re.findall(r"\d+", ask(f"{men} men are aboard. How many now? {chapter}"))[0]


@needs("one digit", "Level 3", "Level 5", "Level 2")
def digit(ask: Any) -> None:
    grade = "1"
    for chapter in CHAPTERS:
        grade = ask(f"The grade is {grade}. And after this? {chapter}")[-1]


@needs("a field of JSON", '{"city": "Lisbon", "days": 3}', "The castle, the sea, home.")
def field_of_json(ask: Any) -> None:
    fields = json.loads(ask("Extract the fields: we would love to see the capital of Portugal."))
    ask(f"Plan {fields['days']} days in {fields['city']}.")


@needs("a field of JSON, in a loop", '{"next": "Rua"}', '{"next": "Sol"}', '{"next": "Mar"}')
def field_in_a_loop(ask: Any) -> None:
    where = "Cais"
    for _ in CHAPTERS:
        where = json.loads(ask(f"Where do I go from {where}?"))["next"]


@needs("in capitals", "harbour", "mast", "spring")
def capitals(ask: Any) -> None:
    word = "start"
    for chapter in CHAPTERS:
        word = ask(f"After {word.upper()}: {chapter}")


@needs("how long it is", *TOLD)
def length(ask: Any) -> None:
    limit = 100
    for chapter in CHAPTERS:
        limit = len(ask(f"In {limit} characters: {chapter}"))


@needs("how many words it has", *TOLD)
def words(ask: Any) -> None:
    limit = 100
    for chapter in CHAPTERS:
        limit = len(ask(f"In {limit} words: {chapter}").split())


@needs("how many items it lists", "tea, salt, bread", "a; b", "x")
def items(ask: Any) -> None:
    count = len(ask("What is in the cupboard?").split(","))
    ask(f"Write {count} rhymes.")


@needs("a yes that ends the loop", "no", "no", "yes")
def until_yes(ask: Any) -> None:
    for city in (*CITIES, "Braga"):
        if ask(f"Is there a beach in {city}?") == "yes":
            break


@needs("a yes that returns", "no", "no", "yes")
def first_yes(ask: Any) -> str | None:
    for city in (*CITIES, "Braga"):
        if "yes" in ask(f"Is there a beach in {city}?"):
            return city
    return None


@needs("until it is good enough", "poor", "better", "good")
def until_good(ask: Any) -> None:
    tries = 0
    while ask(f"Rate draft number {tries}.") != "good":
        tries += 1


@needs("a flag that skips the rest", "no", "no", "yes")
def a_flag(ask: Any) -> None:
    found = False
    for city in (*CITIES, "Braga"):
        if not found:
            found = ask(f"Is there a beach in {city}?") == "yes"


@needs("a yes that asks for more", "yes", "Down the street.")
def a_branch(ask: Any) -> None:
    if ask("Is there a beach in Faro?") == "yes":
        ask("How do I get to the beach of Faro?")


@needs("a router", "billing", "Your bill is right.")
def router(ask: Any) -> None:
    experts = {"billing": "You know all about money.", "tech": "You know all about screws."}
    ask(experts[ask("Who can help? My account was charged twice.")])


@needs("other words for it", "positive", "negative", "neutral")
def mapped(ask: Any) -> None:
    tone = "plainly"
    for chapter in CHAPTERS:
        told = ask(f"Say {tone} what this is: {chapter}")
        tone = {"positive": "with joy", "negative": "gravely"}.get(told, "plainly")


@needs("a list with all answers so far", *LABELS)
def so_far(ask: Any) -> None:
    known: list[str] = []
    for chapter in CHAPTERS:
        known.append(ask(f"Other than {known}: {chapter}"))


@needs("a chat", *TOLD)
def chat(ask: Any) -> None:
    messages: list[Any] = []
    for chapter in CHAPTERS:
        messages.append({"role": "user", "content": chapter})
        messages.append({"role": "assistant", "content": ask(messages)})


@needs("by reduce", "alpha", "beta", "gamma")
def reduced(ask: Any) -> None:
    functools.reduce(lambda told, chapter: ask(f"{told}: {chapter}"), CHAPTERS, "start")


@needs("by recursion", "harbour", "mast", "spring")
def recursive(ask: Any) -> None:
    def go_on(story: str, rest: Sequence[str]) -> None:
        if rest:
            go_on(ask(f"{story} / {rest[0]}"), rest[1:])

    go_on("start", CHAPTERS)


@needs("a chain of steps", "a draft on tea", "a critique of it", "a better draft")
def chain(ask: Any) -> None:
    draft = ask("Write on the drink of kings.")
    critique = ask(f"Criticise: {draft}")
    ask(f"Mend {draft} by {critique}")


@needs("translated twice", "bonjour tristesse", "guten Tag Traurigkeit")
def twice(ask: Any) -> None:
    text = "hello sadness"
    for language in ("French", "German"):
        text = ask(f"Into {language}: {text}")


@needs("via a file", *TOLD)
def via_a_file(ask: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        notes.write_text("none")
        for chapter in CHAPTERS:
            notes.write_text(ask(f"Notes: {notes.read_text()[:30]} Text: {chapter}"))


@needs("via a database", "Ada", "Bob", "Cid")
def via_a_database(ask: Any) -> None:
    base = sqlite3.connect(":memory:")
    base.execute("create table t (name text)")
    for chapter in CHAPTERS:
        known = [row[0] for row in base.execute("select name from t")]
        base.execute("insert into t values (?)", (ask(f"Known: {known}. New? {chapter}"),))
    base.close()


class Memory:
    """What an agent remembers."""

    last = "nothing"


@needs("via global state", "lighthouse", "anchor", "parrot")
def via_global_state(ask: Any) -> None:
    def step(chapter: str) -> None:
        Memory.last = ask(f"Remember {Memory.last}. {chapter}")

    for chapter in CHAPTERS:
        step(chapter)


@needs("from a queue that answers fill", '["b", "c"]', "[]", "[]")
def from_a_queue(ask: Any) -> None:
    waiting = ["a"]
    while waiting:
        waiting += json.loads(ask(f"What follows from {waiting.pop(0)}?"))


@needs("from a generator that waits for answers", "Porto", "Faro", "Braga")
def from_a_generator(ask: Any) -> None:
    told = ["Lisbon"]

    def next_cities() -> Iterator[str]:
        for _ in CITIES:
            yield told[-1]

    for city in next_cities():
        told.append(ask(f"Which town comes after {city}?"))


@needs("in Chinese", "船离开了港口", "风暴来了", "看到了岛")
def in_chinese(ask: Any) -> None:
    story = "开始"
    for _ in CHAPTERS:
        story = ask(f"接着写：{story}")


@needs("a tool needs the answer", "4711", "Two are open.")
def tool_needs_answer(ask: Any) -> None:
    @causepath.tool
    def get_tickets(user: str) -> str:
        return f"tickets of {user}: two"

    who = ask("What is the number of the user who wrote this?")
    get_tickets(who)


@needs("a cursor", "done")
def cursor(ask: Any) -> None:
    pages = {"a": "b7", "b7": "c9", "c9": ""}

    @causepath.tool
    def get_page(at: str) -> dict[str, Any]:
        return {"rows": ["x"], "next": pages[at]}

    at = "a"
    while at:
        at = get_page(at)["next"]


@needs("a cursor in a for loop", "done")
def cursor_in_for(ask: Any) -> None:
    pages = {"a": "b7", "b7": "c9", "c9": "d1"}

    @causepath.tool
    def get_page(at: str) -> dict[str, Any]:
        return {"rows": ["x"], "next": pages[at]}

    at = "a"
    for _ in range(3):
        at = get_page(at)["next"]


@needs("half of it each time", "done")
def halves(ask: Any) -> None:
    @causepath.tool
    def is_larger(than: int) -> bool:
        return than < 11

    low, high = 0, 64
    for _ in range(4):
        middle = (low + high) // 2
        low, high = (middle, high) if is_larger(middle) else (low, middle)


@needs("written, then read", "done")
def written_then_read(ask: Any) -> None:
    store: dict[str, str] = {}

    @causepath.tool
    def save_note(title: str) -> str:
        store[title] = "x"
        return "it has been kept"

    @causepath.tool
    def list_notes() -> str:
        return f"all of them: {sorted(store)}"

    save_note("tea")
    list_notes()


@needs("the same question again", "pending", "pending", "ready")
def polling(ask: Any) -> None:
    for _ in range(9):
        if ask("Is it ready?") == "ready":
            break


@needs("found, then asked, then found with the answer", "whales", "krill", "plankton")
def found_with_the_answer(ask: Any) -> None:
    @causepath.tool
    def find(topic: str) -> str:
        return f"A page about {topic} that says little."

    topic = "oceans"
    for _ in CHAPTERS:
        topic = ask(f"What to read after this? {find(topic)}")


# -- no call needs an earlier one


@free("for each item", *TOLD)
def for_each(ask: Any) -> None:
    for city in CITIES:
        ask(f"Describe {city} in a sentence.")


@free("for each item, by a comprehension", *TOLD)
def by_comprehension(ask: Any) -> None:
    [ask(f"Describe {city} in a sentence.") for city in CITIES]


@free("for each item, by a helper", *TOLD)
def by_a_helper(ask: Any) -> None:
    def describe(city: str) -> str:
        question = f"Describe {city} in a sentence."
        return ask(question)

    for city in CITIES:
        describe(city)


@free("for each item, by map", *TOLD)
def by_map(ask: Any) -> None:
    list(map(lambda city: ask(f"Describe {city}."), CITIES))  # noqa: C417


@free("for each document", *SUMS)
def for_each_document(ask: Any) -> None:
    for document in DOCS:
        ask(f"Sum this up: {document}")


@free("labels", *LABELS)
def labels(ask: Any) -> None:
    for text in ("What a day!", "It broke at once.", "It is a chair."):
        ask(f"Positive, negative or neutral? {text}")


@free("a filter by yes and no", "yes", "no", "yes")
def a_filter(ask: Any) -> None:
    [city for city in CITIES if ask(f"Does {city} lie on the sea?") == "yes"]


@free("JSON of each", '{"total": 12}', '{"total": 40}', '{"total": 7}')
def json_of_each(ask: Any) -> None:
    for text in ("Tea for twelve euros", "A chair, forty", "Seven for the soup"):
        json.loads(ask(f"Give the total as JSON: {text}"))


@free("translated, each", "bonjour", "bonsoir", "bonne nuit")
def translated(ask: Any) -> None:
    for text in ("good morning", "good evening", "good night"):
        ask(f"Into French: {text}")


@free("numbered", *TOLD)
def numbered(ask: Any) -> None:
    for n in range(1, 4):
        ask(f"Sum up part {n} of the book.")


@free("with an index", *TOLD)
def with_an_index(ask: Any) -> None:
    for n, city in enumerate(CITIES, start=1):
        ask(f"Stop {n} is {city}. What is there to see?")


@free("values of a dict", *TOLD)
def values(ask: Any) -> None:
    for name, text in {"first": CHAPTERS[0], "then": CHAPTERS[1], "last": CHAPTERS[2]}.items():
        ask(f"{name}: what happens here? {text}")


@free("lines of a file", *TOLD)
def lines_of_a_file(ask: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lines"
        path.write_text("\n".join(CHAPTERS))
        with path.open() as lines:
            for line in lines:
                ask(f"What is this about? {line}")


@free("items of a generator", *TOLD)
def items_of_a_generator(ask: Any) -> None:
    def cities() -> Iterator[str]:
        yield from CITIES

    for city in cities():
        ask(f"Describe {city}.")


@free("with another try after an error", *TOLD)
def with_retries(ask: Any) -> None:
    def patiently(question: str) -> str:
        for _ in range(3):
            try:
                return str(ask(question))
            except TimeoutError:
                continue
        return ""

    for city in CITIES:
        patiently(f"Describe {city}.")


@free("awaited one by one", *TOLD)
def awaited(ask: Any) -> None:
    async def describe(city: str) -> str:
        return str(ask(f"Describe {city}."))

    async def main() -> None:
        for city in CITIES:
            await describe(city)

    asyncio.run(main())


@free("loop in loop", "a", "b", "c", "d")
def loop_in_loop(ask: Any) -> None:
    for city in CITIES[:2]:
        for what in ("beaches", "hills"):
            ask(f"Are there {what} in {city}?")


@free("some of the items", *TOLD)
def some_items(ask: Any) -> None:
    for city in (*CITIES, ""):
        if city:
            ask(f"Describe {city}.")


@free("a judge of each pair", "the first", "the second", "neither")
def judge(ask: Any) -> None:
    for one, other in ((0, 1), (1, 2), (0, 2)):
        ask(f"Which is better? A: {CHAPTERS[one]} B: {CHAPTERS[other]}")


@free("chunks that overlap", *SUMS)
def overlapping(ask: Any) -> None:
    text = " ".join(DOCS)
    for start in range(0, 1500, 500):
        ask(f"Sum up this piece: {text[start : start + 700]}")


@free("in Chinese", "里斯本很美", "波尔图有酒", "法鲁靠海")
def each_in_chinese(ask: Any) -> None:
    for city in ("里斯本", "波尔图", "法鲁"):
        ask(f"用一句话介绍{city}")


@free("a plan, then its parts", "history of tea\nprice of tea\ntaste of tea", *TOLD)
def planned(ask: Any) -> None:
    for topic in ask("Plan a text on the drink of kings.").split("\n"):
        ask(f"Write on the {topic}.")


@free("found, then asked, for each item", *TOLD)
def found_and_asked(ask: Any) -> None:
    @causepath.tool
    def find(city: str) -> str:
        return f"A page about {city} that says what is there to be seen by everybody."

    for city in CITIES:
        ask(f"What does this say? {find(city)}")


@free("all found, then each asked", *TOLD)
def all_found_first(ask: Any) -> None:
    @causepath.tool
    def find(city: str) -> str:
        return f"A page about {city} that says what is there to be seen by everybody."

    for page in [find(city) for city in CITIES]:
        ask(f"What does this say? {page}")


@free("a tool for each item", "done")
def tool_for_each(ask: Any) -> None:
    @causepath.tool
    def get_page(of: str) -> str:
        return f"A page about the beauty of {of}."

    for city in CITIES:
        get_page(city)


@free("a tool for each number", "done")
def tool_for_each_number(ask: Any) -> None:
    names = {4711: "Ada", 4712: "Bob", 4713: "Cid"}

    @causepath.tool(read_only=True)
    def get_user(number: int) -> dict[str, Any]:
        return {"name": names[number]}

    for number in names:
        get_user(number)


@free("one query for several sources", "done")
def several_sources(ask: Any) -> None:
    @causepath.tool
    def search_docs(query: str) -> str:
        return f"Three pages of the handbook fit {query}."

    @causepath.tool
    def search_mails(query: str) -> str:
        return f"Eve once wrote about {query}."

    query = "how to grease a belt"
    search_docs(query)
    search_mails(query)


@free("a worker for each, with a system prompt", *SUMS)
def with_a_system_prompt(ask: Any) -> None:
    for document in DOCS:
        ask(document, system="You sum up what you are given in one sentence.")
