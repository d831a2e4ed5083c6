"""Chinese entities by a tagger with a vocabulary of characters, and the offsets that it answers with.

    python -m tests.bench.chinese --data FOLDER

A small BERT with random weights and a vocabulary of train's characters is trained on two stages. Then the predictor
that serves it reads every test sentence as raw text, and its offsets are held against those of the labelled entities,
to the character. Raw text has a space where two words of Latin letters or digits meet. Sentences that no reader could
take apart as they were labelled (a number with its unit as one word, say) are left out of both scores, and counted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
import yaml

from pipelines.inference.entity_predictor import EntityPredictor
from pipelines.inference.predictor import Text
from pipelines.inference.words import split_words
from pipelines.report.entities import entities_in
from tests.bench.beside import run_module
from tests.bench.inputs import Sentence, read_conll
from tests.bench.tables import BENCHMARKS, command, machine, replace_section, table

Span = tuple[int, str, int, int]
"""Sentence, type, first character, behind the last."""
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def main() -> int:
    """1 if an offset is wrong by a character."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train.conll, dev.conll and test.conll")
    parser.add_argument("--epochs", type=int, default=12)
    given = parser.parse_args()
    whole = read_conll(given.data / "test.conll")
    test = [row for row in whole if [word.text for word in split_words(raw(row.words))] == row.words]
    with tempfile.TemporaryDirectory(prefix="motley-chinese-") as name:
        scratch = Path(name)
        write_tagger(scratch / "model", (word for row in read_conll(given.data / "train.conll") for word in row.words))
        (scratch / "test.conll").write_text(
            "".join("".join(f"{w}\t{t}\n" for w, t in zip(row.words, row.tags, strict=True)) + "\n" for row in test),
            encoding="utf-8",
        )
        config = {
            "run": {"name": "chinese", "output": str(scratch / "run")},
            "model": {"source": str(scratch / "model")},
            "data": {
                "train": str((given.data / "train.conll").resolve()),
                "dev": str((given.data / "dev.conll").resolve()),
                "test": str(scratch / "test.conll"),
            },
            "train": {"task": "token-classification", "epochs": given.epochs, "learning_rate": 1e-3},
            "plan": {"stages": 2},
            "track": {"uri": f"sqlite:///{scratch}/mlflow.db", "system_metrics": False},
            "checkpoint": {"resume": "never"},
        }
        (scratch / "chinese.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        summary = json.loads(run_module("jobs.train", str(scratch / "chinese.yaml"), "--json"))
        predictor = EntityPredictor.load(scratch / "run" / "model", threads=1)
    texts = [raw(row.words) for row in test]
    said = {
        (n, entity.type, entity.start, entity.end)
        for n, found in enumerate(predictor.predict([Text(text) for text in texts]))
        for entity in found.entities
        if texts[n][entity.start : entity.end] == entity.text
    }
    true = {span for n, row in enumerate(test) for span in _spans(n, row)}
    by_offset = 2 * len(said & true) / (len(said) + len(true))
    by_tag = summary["test"][0]["micro"]["f1"]
    rows = [
        ["tags of characters, as the run scores them", f"{100 * by_tag:.2f}"],
        ["offsets in raw text, by the predictor that serves it", f"{100 * by_offset:.2f}"],
    ]
    replace_section(
        BENCHMARKS,
        "chinese",
        f"## Chinese, by characters\n\n`{command(__file__)}`\n\n{machine()}.\nA BERT of 3 blocks of 128 with random "
        f"weights and a vocabulary of train's characters, {given.epochs} epochs on 2 stages; {len(test)} of "
        f"{len(whole)} sentences of test (the others cannot be taken apart from raw text as they were labelled), "
        f"{len(true)} entities, {len(said)} found. F1 of whole entities, in points.\n\n"
        f"{table(['compared by', 'F1'], rows)}",
    )
    print(f"F1 by tags {by_tag:.4f}, by offsets {by_offset:.4f}", flush=True)
    return 0 if by_offset == by_tag else 1


def write_tagger(folder: Path, characters: Iterable[str]) -> Path:
    """A BERT without pretraining that reads characters."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    known = [*SPECIAL, *sorted({one for word in characters for one in word})]
    tokenizer = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(known)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=512, **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(known), hidden_size=128, num_hidden_layers=3, num_attention_heads=4, intermediate_size=256,
        pad_token_id=0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


def raw(words: Sequence[str]) -> str:
    """The text that these words were: Chinese has no spaces, but where two words of Latin letters or digits meet."""
    return "".join(word if n == 0 else _gap(words[n - 1], word) + word for n, word in enumerate(words))


def _gap(before: str, after: str) -> str:
    return " " if before[-1].isascii() and before[-1].isalnum() and after[0].isascii() and after[0].isalnum() else ""


def _spans(number: int, row: Sentence) -> Iterable[Span]:
    """A sentence's entities by characters of its raw text."""
    starts = [len(raw(row.words[: n + 1])) - len(word) for n, word in enumerate(row.words)]
    return (
        (number, kind, starts[first], starts[last] + len(row.words[last]))
        for kind, first, last in entities_in(row.tags)
    )


if __name__ == "__main__":
    raise SystemExit(main())
