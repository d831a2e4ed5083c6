from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config import DataConfig
from pipelines.data.examples import Table, TaggedSentence
from pipelines.data.read import read_split
from pipelines.data.tagged import TAGGED
from pipelines.data.write_conll import to_conll
from pipelines.errors import UserError

ADA = TaggedSentence(("Ada", "Lovelace", "wrote"), ("B-PER", "I-PER", "O"))


def read(path: Path, content: str | bytes, *, repair: bool = False) -> Table:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_split(str(path), split="train", data=DataConfig(iob="repair" if repair else "strict"), kind=TAGGED)


@pytest.mark.parametrize("ending", ["conll", "iob2", "txt", "tsv", "bio", "CONLL"])
def test_every_ending_of_conll_reads_alike(tmp_path: Path, ending: str) -> None:
    table = read(tmp_path / f"a.{ending}", "Ada\tB-PER\nLovelace\tI-PER\nwrote\tO\n\nNotes\tO\n")
    assert table == Table([ADA, TaggedSentence(("Notes",), ("O",))], 0, frozenset({"B-PER", "I-PER", "O"}))


@pytest.mark.parametrize(
    "content",
    [
        "Ada B-PER\nLovelace I-PER\nwrote O",
        "Ada NNP x B-PER\nLovelace NNP x I-PER\nwrote VBD x O\n",
        "-DOCSTART- -X- O O\n\nAda a a B-PER\nLovelace a a I-PER\nwrote a a O\n",
        "\n \n\t\nAda   B-PER  \n  Lovelace I-PER\nwrote O\n\n\n\n",
        "Ada\tB-PER\r\nLovelace\tI-PER\r\nwrote\tO\r\n\r\n",
        "\ufeffAda\tB-PER\nLovelace\tI-PER \nwrote\tO\n",
        "# sent_id = 1\n# text = Ada Lovelace wrote\nAda\tB-PER\nLovelace\tI-PER\nwrote\tO\n",
        "# text = found O\nAda B-PER\nLovelace I-PER\nwrote O\n",
    ],
)
def test_the_same_sentence_in_other_dress_reads_equal(tmp_path: Path, content: str) -> None:
    assert read(tmp_path / "a.conll", content).rows == [ADA]


@pytest.mark.parametrize("content", ["#\tO\n# \tO\n#ai\tB-X\n", "# O\n#ai B-X\n"])
def test_a_hash_with_a_tag_is_a_word(tmp_path: Path, content: str) -> None:
    table = read(tmp_path / "a.conll", content)
    assert (table.rows[0].words[0], table.rows[0].words[-1]) == ("#", "#ai")


def test_docstart_parts_sentences_and_is_counted_nowhere(tmp_path: Path) -> None:
    table = read(tmp_path / "a.conll", "a\tO\n-DOCSTART-\tO\nb\tO\n")
    assert table.rows == [TaggedSentence(("a",), ("O",)), TaggedSentence(("b",), ("O",))]


def test_unicode_that_looks_like_a_space_or_a_line_end_stays_in_its_word(tmp_path: Path) -> None:
    words = ("a\u00a0b", "\u3000", "c\u2028d", "e\u0085f", "\u200b", "g h", "i\x0cj", "k\rl")
    table = read(tmp_path / "a.conll", "".join(f"{word}\tO\n" for word in words))
    assert table.rows == [TaggedSentence(words, ("O",) * 8)]
    assert read(tmp_path / "b.conll", "a\u00a0b O\n").rows == [TaggedSentence(("a\u00a0b",), ("O",))]


@pytest.mark.parametrize("content", ["Ada\tB-PER\n\nBob\n", "Ada\tB-PER\n\nBob\t\n", "Ada B-PER\n\nBob\n"])
def test_a_word_without_a_tag_is_an_error_that_names_its_line(tmp_path: Path, content: str) -> None:
    with pytest.raises(UserError, match=r"a\.conll, line 3: the word 'Bob' has no tag\. Every line needs"):
        read(tmp_path / "a.conll", content)


def test_a_tag_without_a_word_is_an_error_that_names_its_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.conll, line 2: there is a tag but no word"):
        read(tmp_path / "a.conll", "Ada\tB-PER\n\tO\n")


def test_an_unknown_tag_is_an_error_that_names_its_line_and_the_known_forms(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.conll, line 4: the tag 'S-PER' is not an IOB2 tag\. Known are O, B-TYPE"):
        read(tmp_path / "a.conll", "# text = x\na\tO\n\nBob\tS-PER\n")


def test_an_opening_inside_is_an_error_that_names_its_line_and_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"line 2: the tag 'I-LOC' opens an entity, as it follows B-PER.*data\.iob=repair"
    ):
        read(tmp_path / "a.conll", "Ada\tB-PER\nParis\tI-LOC\n")
    with pytest.raises(UserError, match=r"line 4: the tag 'I-PER' opens an entity, as it is the first tag"):
        read(tmp_path / "a.conll", "Ada\tB-PER\n\n\nBob\tI-PER\n")


def test_opening_insides_are_mended_and_counted_on_request(tmp_path: Path) -> None:
    table = read(tmp_path / "a.conll", "Ada\tI-PER\nLovelace\tI-PER\nParis\tI-LOC\n", repair=True)
    sentence = TaggedSentence(("Ada", "Lovelace", "Paris"), ("B-PER", "I-PER", "B-LOC"))
    assert table == Table([sentence], 2, frozenset({"B-PER", "I-PER", "B-LOC"}))


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff", "-DOCSTART- -X- O O\n\n", "# only a comment\n"])
def test_an_empty_set_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(UserError, match=r"The train file .*a\.conll holds no rows: at least one tagged sentence"):
        read(tmp_path / "a.conll", content)


def test_text_that_is_not_utf8_is_an_error_that_names_line_and_byte(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.conll, line 2: byte 9 of the file \(0xe9\) is not UTF-8"):
        read(tmp_path / "a.conll", b"a\tO\nCaf\xc3\xa9".replace(b"\xc3\xa9", b"e\xe9") + b"\tO\n")
    with pytest.raises(UserError, match=r"line 1: byte 1 .* looks like UTF-16; save the file as UTF-8"):
        read(tmp_path / "a.conll", "a\tO\n".encode("utf-16"))


def test_errors_quote_no_long_text(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path / "a.conll", f"{'secret' * 50}\n")
    assert "secret" * 6 in str(caught.value)
    assert "secret" * 7 not in str(caught.value)


@pytest.mark.parametrize("word", ["", " ", "a\tb", "a\nb", "-DOCSTART-"])
def test_words_that_conll_cannot_hold_are_not_written(word: str) -> None:
    with pytest.raises(ValueError, match="cannot hold the word"):
        to_conll([TaggedSentence((word,), ("O",))])


characters = st.characters(exclude_categories=["Cs"], exclude_characters="\t\n")
odd = st.sampled_from(["#", "# ", "# text = a", "\ufeff", "a\u2028b", "\u0085", "\u00a0", "\r", "B-PER", "O", "a b"])
word = (st.text(characters, min_size=1) | odd).filter(lambda text: text.strip(" ") and text != "-DOCSTART-")
kind = st.sampled_from(["PER", "LOC", "creative-work", "组织"])


@st.composite
def sentences(draw: st.DrawFn) -> TaggedSentence:
    words = draw(st.lists(word, min_size=1, max_size=6))
    tags: list[str] = []
    for _ in words:
        options = ["O", f"B-{draw(kind)}"]
        if tags and tags[-1] != "O":
            options.append(f"I-{tags[-1][2:]}")
        tags.append(draw(st.sampled_from(options)))
    return TaggedSentence(tuple(words), tuple(tags))


@given(rows=st.lists(sentences(), min_size=1, max_size=5))
def test_what_is_written_reads_back_equal(rows: list[TaggedSentence], tmp_path_factory: pytest.TempPathFactory) -> None:
    table = read(tmp_path_factory.getbasetemp() / "roundtrip.conll", to_conll(rows))
    assert table.rows == rows
    assert table.num_repaired == 0
