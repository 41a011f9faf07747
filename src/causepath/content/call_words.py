"""The words of one model call: recognised by their digests, recorded, or both, as is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from causepath.guard import harmless
from causepath.otel import semconv

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.trace import Span, SpanContext

    from causepath.content.conversations import Conversations, Told
    from causepath.content.provenance import Evidence
    from causepath.content.recording import Content, Said
    from causepath.providers.messages import Block, ToolCall
    from causepath.providers.prompt import Prompt


@dataclass
class Words:
    """The users of what is said; there are none before the first SDK is there to ask for them."""

    evidence: Evidence | None = None
    """The digests, if they are asked for."""
    content: Content | None = None
    """The texts, if they are asked for."""

    def of_call(self, *, is_recorded: bool) -> CallWords | None:
        """Begins with a model call, if anything is asked for."""
        if self.evidence is None and self.content is None:
            return None
        return CallWords(self.evidence, self.content, is_recorded=is_recorded)


class CallWords:
    """The words of one model call."""

    def __init__(
        self, evidence: Evidence | None, content: Content | None, *, is_recorded: bool
    ) -> None:
        """Begins with nothing said. `is_recorded` texts go on the span of the call."""
        self._evidence = evidence
        self._content = content
        self._is_recorded = is_recorded
        self._told: Told | None = None
        self._conversations: Conversations | None = None
        self._said: Said | None = None
        self._answer: dict[str, Any] | None = None

    @property
    def reads_reply(self) -> bool:
        """Says that the blocks of the reply are wanted, as the request has been read."""
        return self._told is not None or self._said is not None

    def traced(
        self,
        span: Span,
        conversations: Conversations,
        prompt: Prompt,
        results: Callable[[], Mapping[str, SpanContext]],
    ) -> None:
        """Recognises what a request says; `results` gives the tools whose results it brings."""
        if self._evidence is not None:
            self._conversations = conversations
            self._told = self._evidence.given(span, conversations, prompt, results())

    @harmless(None)
    def recorded(
        self, prompt: Prompt, before: Callable[[Sequence[Block]], None]
    ) -> Mapping[str, Any] | None:
        """Gives what a request says, as attributes. Its blocks are shown to `before` it is read."""
        if self._content is None:
            return None
        blocks = prompt.blocks()
        before(blocks)
        said = self._said = self._content.asked(blocks)
        return self._content.attributes(said) if said is not None and self._is_recorded else None

    def question(self, run: Span) -> None:
        """Writes on the span of a run what its first call was asked."""
        self._repeat(run, semconv.INPUT_MESSAGES, "user")

    def answer(self, run: Span) -> None:
        """Writes on it what its latest call has answered."""
        self._repeat(run, semconv.OUTPUT_MESSAGES, "assistant")

    def _repeat(self, run: Span, name: str, role: str) -> None:
        content, said = self._content, self._said
        if content is not None and said is not None and self._is_recorded:
            told = [message for message in said.values.get(name, ()) if message["role"] == role]
            content.repeat(run, name, told[-1:])

    def asked(self, call: ToolCall) -> tuple[dict[str, Any], Sequence[SpanContext]] | None:
        """Recognises what a reply asks a tool for: attributes of the tool's span, and the tools
        whose results are in it."""
        if self._evidence is None or self._told is None:
            return None
        return self._evidence.asked(self._told, call)

    def answered(
        self,
        span: Span,
        read_blocks: Callable[[], Sequence[Block]],
        finish_reason: str | None,
        about: Callable[[], Mapping[str, Any]],
    ) -> Mapping[str, Any]:
        """Gives the blocks of the reply, whole or as much of it as has come, as attributes. `about`
        the call, an event says more."""
        if self._answer is None:
            blocks = read_blocks()
            self._answer = {}
            evidence, told, conversations = self._evidence, self._told, self._conversations
            if evidence is not None and told is not None and conversations is not None:
                self._answer.update(evidence.answered(span, told, blocks, conversations))
            self._answer.update(self._record(span, blocks, finish_reason, about) or {})
        return self._answer

    @harmless(None)
    def _record(
        self,
        span: Span,
        blocks: Sequence[Block],
        finish_reason: str | None,
        about: Callable[[], Mapping[str, Any]],
    ) -> Mapping[str, Any] | None:
        content, said = self._content, self._said
        if content is None or said is None:
            return None
        content.answered(said, blocks, finish_reason)
        if content.settings.in_events:
            content.emit(said, about(), span)
        if not self._is_recorded:
            return None
        return content.attributes(said, (semconv.OUTPUT_MESSAGES,))
