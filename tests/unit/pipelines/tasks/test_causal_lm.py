from __future__ import annotations

from typing import Any

import pytest
import torch

from pipelines.data.examples import IGNORE, Chat, Document, Encoded, Message
from pipelines.errors import UserError
from pipelines.tasks.causal_lm import CausalLM
from pipelines.tasks.chat import PLAIN, written
from tests.tiny_lm import write_lm

CHAT = Chat(
    (Message("user", "Hi"), Message("assistant", "Hello."), Message("user", "Why?"), Message("assistant", "So."))
)
MARKED = (
    "{% for m in messages %}<{{ m['role'] }}>"
    "{% if m['role'] == 'assistant' and loop.last %}[thinks]{% endif %}{{ m['content'] }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
"""Writes the last answer otherwise than those before it, as the templates of models that think do."""


@pytest.fixture
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return CausalLM().load_processor(str(write_lm(tmp_path_factory.mktemp("model"), "gpt2", layers=1)))


def learnt(example: Encoded, tokenizer: Any) -> str:
    labels = example.columns["labels"]
    return "".join(tokenizer.convert_ids_to_tokens([label if label != IGNORE else 3 for label in labels.tolist()]))


def test_of_a_text_all_is_learnt_but_its_first_sub_word_its_end_too(tokenizer: Any) -> None:
    (example,) = CausalLM().encode([Document("abc")], tokenizer, [], 64)
    assert learnt(example, tokenizer) == "<unk>bc</s>"
    assert (example.length, example.num_targets) == (4, 3)


def test_of_a_chat_the_answers_are_learnt_with_their_ends(tokenizer: Any) -> None:
    (example,) = CausalLM().encode([CHAT], tokenizer, [], 512)
    text, spans = written(CHAT, tokenizer)
    assert text == "User: Hi\n\nAssistant: Hello.</s>\n\nUser: Why?\n\nAssistant: So.</s>\n\n"
    assert [text[first:last] for first, last in spans] == [" Hello.</s>", " So.</s>"]
    assert learnt(example, tokenizer).replace("<unk>", "") == " Hello.</s> So.</s>"


def test_a_template_of_the_tokenizer_is_the_one_that_counts_even_if_it_writes_the_last_answer_otherwise(
    tokenizer: Any,
) -> None:
    tokenizer.chat_template = MARKED
    text, spans = written(CHAT, tokenizer)
    assert text == "<user>Hi<end><assistant>Hello.<end><user>Why?<end><assistant>[thinks]So.<end>"
    assert [text[first:last] for first, last in spans] == ["Hello.<end>", "[thinks]So.<end>"]


def test_a_chat_that_the_template_refuses_is_an_error_that_says_so(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ raise_exception('Roles must alternate') }}"
    with pytest.raises(UserError, match=r"does not take a chat of the roles user, assistant.*: Roles must alternate\."):
        written(CHAT, tokenizer)


def test_an_answer_that_the_template_leaves_out_is_an_error(tokenizer: Any) -> None:
    tokenizer.chat_template = "{% for m in messages %}{% if loop.last %}{{ m['content'] }}{% endif %}{% endfor %}"
    with pytest.raises(UserError, match="does not write an answer as it was given"):
        written(CHAT, tokenizer)


def test_a_tokenizer_without_a_template_is_given_the_plain_one(tokenizer: Any) -> None:
    assert tokenizer.chat_template == PLAIN


def test_a_long_text_goes_on_in_pieces_and_each_sub_word_but_the_first_is_a_target_once(tokenizer: Any) -> None:
    found = CausalLM().encode([Document("abcdefgh")], tokenizer, [], 4)
    assert [learnt(example, tokenizer) for example in found] == ["<unk>bcd", "<unk>efg", "<unk>h</s>"]
    assert [example.continues for example in found] == [False, True, True]


def test_a_long_chat_loses_its_end(tokenizer: Any) -> None:
    (whole,), (cut,) = (CausalLM().encode([CHAT], tokenizer, [], length) for length in (512, 20))
    assert (cut.length, cut.num_cut) == (20, whole.length - 20)


def test_the_loss_is_that_of_transformers(tokenizer: Any) -> None:
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(tokenizer.name_or_path).eval()
    (example,) = CausalLM().encode([CHAT], tokenizer, [], 64)
    batch = {name: torch.from_numpy(column)[None].long() for name, column in example.columns.items()}
    output = model(**batch)
    found = CausalLM().loss_sum(output, batch) / example.num_targets
    assert found.item() == pytest.approx(output.loss.item(), rel=1e-6)
