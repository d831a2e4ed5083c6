"""Chats as one text each, and where in it the answers stand."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

from pipelines.data.examples import Chat
from pipelines.data.texts import ASSISTANT
from pipelines.errors import UserError

PLAIN = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
"""The template of a tokenizer that brings none: `User: Hi`, an empty line, `Assistant: Hello` and the end of text."""

Span = tuple[int, int]


def with_template(tokenizer: Any) -> Any:
    """The tokenizer, with the plain template where it has none; it is saved with the model."""
    if tokenizer.chat_template is None:
        opening = tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
        tokenizer.chat_template = ("{{ bos_token }}" if opening else "") + PLAIN
    return tokenizer


def written(chat: Chat, tokenizer: Any) -> tuple[str, list[Span]]:
    """A chat as the template writes it, and the characters (from, to) of what the assistant says, its end included.

    Raises:
        UserError: the template does not take the chat, or writes something else than was said.
    """
    messages = [{"role": message.role, "content": message.content} for message in chat.messages]
    text = _render(tokenizer, messages, asks=False)
    spans = []
    for k, message in enumerate(chat.messages):
        if message.role == ASSISTANT:
            alone = _render(tokenizer, messages[: k + 1], asks=False)
            before = _same(_render(tokenizer, messages[:k], asks=True), alone, text) if k else 0
            spans.append(_span(text, alone, before, message.content))
    return text, spans


def _span(text: str, alone: str, start: int, content: str) -> Span:
    """Of one answer.

    Some templates write an answer otherwise (with its thoughts, say) while it is the last.

    Args:
        alone: the chat up to this answer.
        start: where both are the same up to it.
    """
    if text.startswith(alone):
        end = len(alone)
    else:
        said = content.strip()
        here, there = text.find(said, start), alone.rfind(said)
        if here < 0 or there < 0:
            raise UserError(
                "The tokenizer's chat template does not write an answer as it was given, so that it cannot be learnt. "
                "Split chats so that each answer is the last of its chat, or give the tokenizer another chat_template."
            )
        # The mark of the answer's end is the same in both.
        end = here + len(said) + _same(text[here + len(said) :], alone[there + len(said) :])
    return start, start + len(text[start:end].rstrip())


def _same(*texts: str) -> int:
    """In how many characters texts begin alike."""
    return sum(1 for _ in takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False)))


def _render(tokenizer: Any, messages: list[dict[str, str]], *, asks: bool) -> str:
    import jinja2

    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asks))
    except (jinja2.TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
        roles = ", ".join(message["role"] for message in messages[:10])
        raise UserError(
            f"The tokenizer's chat template does not take a chat of the roles {roles}: "
            f"{' '.join(str(error).split())[:200]}. Correct the data, or give the tokenizer another chat_template."
        ) from None
