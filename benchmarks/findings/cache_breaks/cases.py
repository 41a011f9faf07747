"""Conversations whose prompt cache breaks, in as many ways as there are causes.

Nobody labels these: the label is the word of the provider, which the stand-in works out by itself
from what it is sent (`tests/support/prompt_cache.py`).
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks.findings.agent import MODELS, OTHER_MODELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.prompt_cache import PromptCache

    Way = Callable[["Chat"], Any]

RULE = "Rule {}: whoever is on board keeps to what the crew says and to what is written here. "
BOOK = "".join(RULE.format(number) for number in range(260))
"""Some 5,800 tokens."""
SCHEMA = {"type": "object", "properties": {"of": {"type": "string"}, "day": {"type": "string"}}}


class Chat:
    """A conversation as people have it with the API of an SDK: the prompt with its parts, which a
    way to break the cache changes between two calls."""

    def __init__(self, sdk: str, client: Any, cache: PromptCache) -> None:
        self.sdk, self.client, self.cache = sdk, client, cache
        self.pauses: list[tuple[int, float]] = []
        self.model = MODELS[sdk] if sdk == "anthropic" else "gpt-5.6"
        self.other_model = OTHER_MODELS[sdk] if sdk == "anthropic" else "gpt-5.6-mini"
        self.tools: list[Any] = [
            self._tool(name, f"Look up the {name.partition('_')[2]} of a ship. {BOOK[:2_400]}")
            for name in ("get_crew", "get_fares", "get_route")
        ]
        self.system: list[str] = [f"It is 10:01:07. {BOOK}"]
        self.messages: list[Any] = []
        self.more: dict[str, Any] = {}
        self.marks_messages = True
        self.ttl: dict[str, str] = {}

    def _tool(self, name: str, about: str) -> dict[str, Any]:
        if self.sdk == "anthropic":
            return {"name": name, "description": about, "input_schema": copy.deepcopy(SCHEMA)}
        return {
            "type": "function",
            "name": name,
            "description": about,
            "parameters": copy.deepcopy(SCHEMA),
        }

    def add_tool(self) -> Any:
        return self._tool("get_weather", "Look up the weather at sea.")

    def wait(self, seconds: float) -> None:
        """Lets time go by, on the clock of the provider, and later in the trace."""
        self.pauses.append((time.time_ns(), seconds))
        self.cache.now += seconds

    @property
    def schema(self) -> str:
        return "input_schema" if self.sdk == "anthropic" else "parameters"

    def ask(self, *texts: str) -> None:
        """Asks the model something, in so many blocks."""
        if self.sdk == "anthropic":
            self._ask_claude(texts)
            return
        parts = [{"type": "input_text", "text": text} for text in texts]
        self.messages.append({"role": "user", "content": parts})
        reply = self.client.responses.create(
            model=self.model,
            instructions="\n".join(self.system),
            tools=self.tools,
            input=self.messages,
            **self.more,
        )
        self.messages += [one.model_dump(exclude_none=True) for one in reply.output]

    def _ask_claude(self, texts: tuple[str, ...]) -> None:
        blocks = [{"type": "text", "text": text} for text in texts]
        self.messages.append({"role": "user", "content": blocks})
        control = {"type": "ephemeral", **self.ttl}
        system = [{"type": "text", "text": text} for text in self.system]
        messages = copy.deepcopy(self.messages)
        if system:
            system[-1]["cache_control"] = control  # type: ignore[assignment]
        if self.marks_messages:
            messages[-1]["content"][-1]["cache_control"] = control
        reply = self.client.messages.create(
            model=self.model,
            max_tokens=2_000,
            system=system,
            tools=self.tools,
            messages=messages,
            **self.more,
        )
        said = [{"type": "text", "text": one.text} for one in reply.content]
        self.messages.append({"role": "assistant", "content": said})


@dataclass(frozen=True)
class Break:
    """A way in which caches break, before the third call of a conversation. ``before`` sets up the
    conversation, ``second`` is what the second call is asked and ``asks`` the third."""

    name: str
    sdks: tuple[str, ...]
    way: Way
    before: Way
    second: str
    asks: tuple[str, ...]


BREAKS: Final[dict[str, Break]] = {}
BOTH: Final = ("anthropic", "openai")
LETTER = "My letter is this: " + BOOK[:9_000]
"""A first question that is worth being cached by itself."""


def way(
    *sdks: str,
    before: Way = lambda _: None,
    second: str = "And when does it come back?",
    asks: tuple[str, ...] = ("And on Sundays?",),
) -> Callable[[Way], Way]:
    """A way to break the cache."""

    def kept(changes: Way) -> Way:
        name = changes.__name__
        assert name not in BREAKS, name
        BREAKS[name] = Break(name, sdks or BOTH, changes, before, second, asks)
        return changes

    return kept


# -- tools


@way()
def a_tool_more(chat: Chat) -> None:
    chat.tools.append(chat.add_tool())


@way()
def a_tool_more_in_front(chat: Chat) -> None:
    chat.tools.insert(0, chat.add_tool())


@way()
def a_tool_less(chat: Chat) -> None:
    chat.tools.pop()


@way()
def another_order_of_tools(chat: Chat) -> None:
    chat.tools.reverse()


@way()
def another_description(chat: Chat) -> None:
    chat.tools[1]["description"] += " As of today."


@way()
def another_schema(chat: Chat) -> None:
    chat.tools[0][chat.schema]["required"] = ["of"]


@way()
def another_order_of_keys(chat: Chat) -> None:
    properties = chat.tools[1][chat.schema]["properties"]
    chat.tools[1][chat.schema]["properties"] = dict(reversed(properties.items()))


@way()
def no_tools(chat: Chat) -> None:
    chat.tools.clear()


@way()
def tools_and_system_prompt(chat: Chat) -> None:
    chat.tools.reverse()
    chat.system[0] = chat.system[0].replace("10:01:07", "10:03:44")


# -- system prompt


@way()
def a_clock(chat: Chat) -> None:
    chat.system[0] = chat.system[0].replace("10:01:07", "10:03:44")


@way()
def a_word_at_the_end(chat: Chat) -> None:
    chat.system[0] += " Be brief."


@way()
def a_block_more(chat: Chat) -> None:
    chat.system.append("The customer is called Ann.")


@way()
def a_block_more_in_front(chat: Chat) -> None:
    chat.system.insert(0, "The customer is called Ann.")


@way()
def another_prompt(chat: Chat) -> None:
    chat.system = [f"You are the captain. {BOOK}"]


@way("anthropic", before=lambda chat: chat.system.append("Ann has a dog."))
def a_block_less(chat: Chat) -> None:
    chat.system.pop()


@way()
def system_prompt_and_message(chat: Chat) -> None:
    chat.system[0] += " Be brief."
    _edited(chat, 0)


# -- messages


def _edited(chat: Chat, number: int) -> None:
    part = chat.messages[number]["content"][0]
    part["text"] = part["text"].replace("Rule 3", "Rule three").replace("Take", "Do take")


@way()
def the_first_question_edited(chat: Chat) -> None:
    _edited(chat, 0)


@way()
def an_answer_edited(chat: Chat) -> None:
    _edited(chat, 1)


@way()
def the_first_turn_dropped_and_more_said(chat: Chat) -> None:
    del chat.messages[:2]
    chat.messages.insert(0, _user(chat, "What was said before is left out. " + LETTER + LETTER))


@way()
def a_note_in_front(chat: Chat) -> None:
    chat.messages.insert(0, _user(chat, "Today is Monday."))


@way()
def a_note_in_between(chat: Chat) -> None:
    chat.messages.insert(2, _user(chat, "The user has been idle for a while."))


@way()
def an_order_of_messages(chat: Chat) -> None:
    chat.messages[0], chat.messages[2] = chat.messages[2], chat.messages[0]


@way(second=LETTER)
def summed_up(chat: Chat) -> None:
    chat.messages = [_user(chat, f"So far we have talked about ferries. {BOOK[300:9_000]}")]


@way(second=LETTER)
def a_window_that_slides(chat: Chat) -> None:
    del chat.messages[:2]


def _user(chat: Chat, text: str) -> dict[str, Any]:
    kind = "text" if chat.sdk == "anthropic" else "input_text"
    return {"role": "user", "content": [{"type": kind, "text": text}]}


# -- models and parameters


@way()
def another_model(chat: Chat) -> None:
    chat.model = chat.other_model


@way("anthropic")
def faster(chat: Chat) -> None:
    chat.more["extra_body"] = {"speed": "fast"}


@way("anthropic")
def it_has_to_use_a_tool(chat: Chat) -> None:
    chat.more["tool_choice"] = {"type": "any"}


@way("anthropic")
def it_thinks(chat: Chat) -> None:
    chat.more["thinking"] = {"type": "enabled", "budget_tokens": 1_024}


@way("openai")
def more_effort(chat: Chat) -> None:
    chat.more["reasoning"] = {"effort": "high"}


@way("openai")
def another_format(chat: Chat) -> None:
    chat.more["text"] = {"format": {"type": "json_object"}}


@way("openai")
def another_key(chat: Chat) -> None:
    chat.more["prompt_cache_key"] = "tenant-2"


@way("openai")
def another_verbosity(chat: Chat) -> None:
    chat.more["text"] = {"verbosity": "low"}


@way("openai")
def another_tier(chat: Chat) -> None:
    chat.more["service_tier"] = "flex"


# -- nothing has changed


def _for_an_hour(chat: Chat) -> None:
    chat.ttl = {"ttl": "1h"}


@way("anthropic")
def six_minutes(chat: Chat) -> None:
    chat.wait(360)


@way("anthropic")
def two_hours(chat: Chat) -> None:
    chat.wait(7_200)


@way("anthropic", before=_for_an_hour)
def an_hour_and_a_half(chat: Chat) -> None:
    chat.wait(5_400)


@way("openai")
def two_hours_of_openai(chat: Chat) -> None:
    chat.wait(7_200)


@way("anthropic")
def a_pause_and_an_edit(chat: Chat) -> None:
    chat.wait(900)
    chat.system[0] += " Be brief."


@way("anthropic", asks=tuple(f"{n}. {BOOK[n * 90 : n * 90 + 300]}" for n in range(30)))
def thirty_blocks_at_once(chat: Chat) -> None:
    """More than the API looks back."""


@way("anthropic")
def no_breakpoint_any_more(chat: Chat) -> None:
    chat.marks_messages = False


@way()
def dropped_by_the_provider(chat: Chat) -> None:
    chat.cache.loses_all()


# -- no break


@way()
def as_before(chat: Chat) -> None:
    """Nothing changes."""


@way("anthropic")
def four_minutes(chat: Chat) -> None:
    chat.wait(240)


@way("anthropic", before=_for_an_hour)
def half_an_hour(chat: Chat) -> None:
    chat.wait(1_800)


def _short(chat: Chat) -> None:
    chat.system, chat.tools = ["You answer letters."], []


@way(before=_short)
def too_short_to_be_cached(chat: Chat) -> None:
    del chat.messages[:]
