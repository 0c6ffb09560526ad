import json
from collections import Counter

import numpy as np
import pytest
import tokenizers as hf
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.config import TextSettings
from elman.errors import ModelError, TextError, UsageError
from elman.text.reading import TextSource
from elman.text.tokenizers import TOKENIZERS, load_tokenizer, train_tokenizer

TRAINING = ["the cat sat on the mat", "", "a cat, a dog; the naïve Ωmega dog's 猫 .", "the end </s> <s> 12 $5"]
# Characters on whose case and class Python and the library agree in every version.
ALPHABET = "abcdefgh THE\t\u00a0\x1c\x85\u2028,.;'$-_«»…<>/unksΣς\u03c3İéÉ猫😀0\u0301"
TEXTS = st.text(ALPHABET) | st.lists(
    st.sampled_from(["the", "cat", "dog's", "<unk>", "</s>", "<s>", "</S>", "Zebra", ",", "(<unk>,"])
).map(" ".join)
UNITS = list(TOKENIZERS)
VARIANTS = [
    ("word", {}),
    ("word", {"lowercase": True}),
    ("word", {"split_punctuation": True}),
    ("word", {"split_punctuation": True, "lowercase": True}),
    ("word", {"min_count": 2}),
    ("char", {}),
    ("char", {"vocab_size": 9}),
    ("byte", {}),
    ("bpe", {"vocab_size": 300}),
    ("bpe", {"vocab_size": 270, "lowercase": True}),
]


def train(unit, lines=TRAINING, **options):
    return TOKENIZERS[unit].train(iter(lines), TextSettings(unit=unit, **options))


MADE = {str(variant): train(variant[0], **variant[1]) for variant in VARIANTS}


@pytest.fixture(params=MADE, scope="module")
def tokenizer(request):
    return MADE[request.param]


def test_the_table_is_the_units_of_the_settings():
    assert set(TOKENIZERS) == set(TextSettings.model_fields["unit"].annotation.__args__)
    assert all(cls.unit == unit for unit, cls in TOKENIZERS.items())


def test_tokens_and_ids_are_one_to_one(tokenizer):
    tokens = [tokenizer.token(id) for id in range(tokenizer.size)]
    assert len(set(tokens)) == tokenizer.size == len(tokenizer)
    assert [tokenizer.id(token) for token in tokens] == list(range(tokenizer.size))
    assert tokenizer.id("no such symbol") is None
    with pytest.raises(IndexError):
        tokenizer.token(tokenizer.size)


def test_the_sentence_end_is_where_the_conventions_say(tokenizer):
    assert tokenizer.token(tokenizer.end_id) == tokenizer.end
    assert (tokenizer.end, tokenizer.end_id) == {
        "word": ("</s>", 0),
        "char": ("\n", 0),
        "byte": ("\n", 10),
        "bpe": ("</s>", 0),
    }[tokenizer.unit]
    assert tokenizer.unk_id == (1 if tokenizer.unit in ("word", "char") else None)


@given(lines=st.lists(TEXTS, max_size=5))
def test_a_block_is_its_lines_one_by_one(tokenizer, lines):
    block = tokenizer.encode_block(lines)
    kept = lines if tokenizer.unit in ("char", "byte") else [line for line in lines if line.strip()]
    expected = [id for line in kept for id in tokenizer.encode_line(line)]
    assert block.ids.dtype == np.uint32
    assert block.ids.tolist() == expected
    assert expected == [id for line in kept for id in [*tokenizer.encode(line), tokenizer.end_id]]
    assert block.lines == len(lines)
    assert block.sentences == expected.count(tokenizer.end_id) == len(kept)
    assert block.oovs == expected.count(tokenizer.size)


@given(text=TEXTS)
def test_the_library_agrees(tokenizer, text):
    fast = np.array(tokenizer.encode(text), dtype=int)
    encoding = tokenizer.library.encode(text)
    slow = np.array(encoding.ids, dtype=int)
    if tokenizer.unit in ("word", "char"):
        # The library also writes <unk> for what is outside the dictionary: the text tells the two apart.
        literal = [text[a:b].lower() == "<unk>" for a, b in encoding.offsets]
        unknown = (slow == tokenizer.unk_id) & ~(np.array(literal, dtype=bool) & tokenizer.unk_trained)
        slow = np.where(unknown, tokenizer.size, slow)
    assert fast.tolist() == slow.tolist()


@given(text=TEXTS)
@settings(max_examples=10)
def test_saving_and_loading_changes_nothing(tokenizer, text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tokenizer.save(folder)
    loaded = load_tokenizer(folder, json.loads(json.dumps(tokenizer.meta())))
    assert type(loaded) is type(tokenizer)
    assert loaded.encode(text) == tokenizer.encode(text)
    assert (loaded.fingerprint, loaded.meta()) == (tokenizer.fingerprint, tokenizer.meta())
    plain = hf.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert plain.get_vocab_size() == tokenizer.size
    assert plain.encode(text).ids == tokenizer.library.encode(text).ids


@given(text=st.text())
def test_bytes_and_bpe_can_write_any_text(text):
    for name in ("('byte', {})", "('bpe', {'vocab_size': 300})"):
        tokenizer = MADE[name]
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.library.decode(ids, skip_special_tokens=False) == text
        assert all(0 <= id < tokenizer.size for id in ids)


@given(text=st.text([*sorted(set("".join(TRAINING))), "\n"]))
def test_known_characters_come_back(text):
    tokenizer = MADE["('char', {})"]
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.library.decode(tokenizer.encode(text)) == text


@given(lines=st.lists(st.lists(st.sampled_from(["the", "cat", "<unk>", "mat", "Ωmega"])).map(" ".join), min_size=1))
def test_known_words_come_back_line_by_line(lines):
    tokenizer = train("word", [*TRAINING, "<unk>"])
    ids = [id for line in lines for id in tokenizer.encode_line(line)]
    assert tokenizer.decode(ids) == "\n".join(lines) + "\n"


def test_each_byte_is_its_own_id():
    tokenizer = MADE["('byte', {})"]
    assert tokenizer.size == 256
    assert tokenizer.encode_block([bytes(range(10)), bytes(range(11, 256))]).ids.tolist() == [*range(256), 10]
    assert tokenizer.encode("é\n\udcff") == [0xC3, 0xA9, 10, 0xFF]
    assert tokenizer.token(0xC3) == "<0xC3>"


def test_words_stand_by_falling_frequency_first_seen_first():
    tokenizer = train("word", ["b a c a", "c d"])
    assert [tokenizer.token(id) for id in range(tokenizer.size)] == ["</s>", "<unk>", "a", "c", "b", "d"]


def test_characters_stand_by_falling_frequency_first_seen_first(monkeypatch):
    monkeypatch.setattr("elman.text.characters.CHUNK", 2)
    tokenizer = train("char", ["baca", "", "cd😀"])
    assert [tokenizer.token(id) for id in range(tokenizer.size)] == ["\n", "<unk>", "a", "c", "b", "d", "😀"]


@given(lines=st.lists(st.text("abcdé😀"), min_size=1), room=st.integers(1, 6), least=st.integers(1, 3))
def test_rare_characters_are_outside_the_dictionary(lines, room, least):
    counts = Counter("".join(lines))
    expected = [c for c, count in counts.most_common() if count >= least][:room]
    tokenizer = train("char", lines, vocab_size=room + 2, min_count=least)
    assert [tokenizer.token(id) for id in range(2, tokenizer.size)] == expected
    assert tokenizer.unk_trained == (len(expected) < len(counts))
    assert tokenizer.encode("z") == [tokenizer.size]
    assert tokenizer.decode(tokenizer.encode("z")) == "<unk>"


def test_rare_words_are_outside_the_dictionary():
    text = ["a a a b b c"]
    for options in ({"vocab_size": 4}, {"min_count": 2}):
        tokenizer = train("word", text, **options)
        assert (tokenizer.size, tokenizer.unk_trained) == (4, True)
        assert tokenizer.encode("a b c <unk>") == [2, 3, 4, 1]
        assert tokenizer.decode([2, 3, 4, 1]) == "a b <unk> <unk>"


def test_a_literal_unk_is_a_word_only_if_training_saw_one():
    assert train("word", ["a b"]).encode("<unk> c a") == [4, 4, 2]
    assert train("word", ["a b <unk>"]).encode("<unk> c a") == [1, 4, 2]
    assert train("word", ["a b"]).unk_trained is False
    assert train("word", ["a b <unk>"]).unk_trained is True


@pytest.mark.parametrize("options", [{}, {"split_punctuation": True}, {"lowercase": True}])
def test_sentence_marks_in_a_text_are_unknown_words(options):
    tokenizer = train("word", ["<s> a b </s>", "</s> </s>"], **options)
    assert (tokenizer.size, tokenizer.unk_trained) == (4, True)
    assert tokenizer.encode("<s> a </s> b </s>") == [4, 2, 4, 3, 4]


def test_no_bpe_text_writes_a_sentence_end():
    tokenizer = train("bpe", ["</s></s> </s>"] * 500, vocab_size=400)
    for text in ("</s>", "a</s>b", "</s></s>"):
        assert 0 not in tokenizer.encode(text)
        assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode([*tokenizer.encode("a b"), 0]) == "a b\n"


def test_every_punctuation_mark_is_a_word_of_its_own():
    tokenizer = train("word", ["x"], split_punctuation=True)
    words = tokenizer.pieces("«Well,» he's (<unk>)... 3.5$ co-op_é")
    assert " ".join(words) == "« Well , » he ' s ( <unk> ) . . . 3 . 5 $ co - op _ é"


def test_lowercase_comes_first():
    assert train("word", ["The the THE"], lowercase=True).size == 3
    assert train("bpe", ["x"], lowercase=True, vocab_size=258).encode("ABC") == train("bpe", ["x"]).encode("abc")


def test_characters_of_words_have_one_space_between_them():
    block = train("word", ["a b"]).encode_block(["  a   b ", " ", "a zebra zoo"])
    assert (block.words, block.sentences, block.lines, block.oovs) == (5, 2, 3, 2)
    assert block.characters == len("a b\na zebra zoo\n")
    assert block.oov_characters == len("zebra zoo\n")


def test_characters_of_other_units_are_the_texts():
    lines = ["né  a", "", "猫"]
    for unit, expected in (("char", 9), ("byte", 9), ("bpe", 8)):
        block = train(unit, ["né a猫"]).encode_block(lines)
        assert (block.characters, block.words, block.oovs) == (expected, 3, 0)
    assert train("char", ["a"]).encode_block(["ab", "c"]).oov_characters == 2


@pytest.mark.parametrize(
    ("unit", "options", "says"),
    [
        ("word", {"vocab_size": 2}, "least is 3"),
        ("char", {"vocab_size": 1}, "least is 3"),
        ("byte", {"vocab_size": 255}, "256 bytes"),
        ("bpe", {"vocab_size": 257}, "least is 258"),
        ("char", {"lowercase": True}, "lowercase"),
        ("char", {"vocabulary": "x"}, "vocabulary"),
        ("byte", {"min_count": 2}, "min_count"),
        ("bpe", {"split_punctuation": True}, "split_punctuation"),
        ("word", {"vocabulary": "x", "vocab_size": 9}, "vocab_size and min_count unset"),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(unit, options, says):
    with pytest.raises(UsageError, match=says):
        train(unit, **options)


def test_the_least_sizes_work():
    assert train("word", vocab_size=3).size == train("char", vocab_size=3).size == 3
    assert train("byte", vocab_size=256).size == 256
    assert train("bpe", vocab_size=258).size == 258


def test_a_vocabulary_file_is_the_dictionary(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("</s>\n<unk>\n<s>\n\ncat\n  the \ncat\nunseen\n")
    tokenizer = train("word", ["the cat the dog"], vocabulary=str(path))
    assert [tokenizer.token(id) for id in range(tokenizer.size)] == ["</s>", "<unk>", "the", "cat", "unseen"]
    assert tokenizer.unk_trained
    assert tokenizer.encode("dog the") == [5, 2]
    assert not train("word", ["the cat"], vocabulary=str(path)).unk_trained


@pytest.mark.parametrize(("text", "says"), [("a\nb 12\n", "line 2"), ("<unk>\n", "lists no word"), ("", "is empty")])
def test_a_vocabulary_file_that_is_none_is_refused(tmp_path, text, says):
    path = tmp_path / "words.txt"
    path.write_text(text)
    with pytest.raises(TextError, match=says):
        train("word", vocabulary=str(path))
    with pytest.raises(TextError, match="does not exist"):
        train("word", vocabulary=str(tmp_path / "none"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model": 3}', "\udc00"])
@pytest.mark.parametrize("unit", UNITS)
def test_a_broken_file_is_a_model_error(tmp_path, unit, text):
    (tmp_path / "tokenizer.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ModelError, match="is broken"):
        load_tokenizer(tmp_path, train(unit).meta())


def test_a_missing_file_is_a_model_error(tmp_path, tokenizer):
    with pytest.raises(ModelError, match="is missing"):
        load_tokenizer(tmp_path, tokenizer.meta())


@pytest.mark.parametrize("unit", UNITS)
def test_a_tokenizer_of_another_kind_is_a_model_error(tmp_path, unit):
    own = train(unit)
    own.save(tmp_path)
    with pytest.raises(ModelError, match="symbols where config"):
        load_tokenizer(tmp_path, {**own.meta(), "size": own.size + 1})
    for other in set(UNITS) - {unit}:
        with pytest.raises(ModelError, match="is not a"):
            load_tokenizer(tmp_path, {**train(other).meta(), "size": own.size})


@pytest.mark.parametrize(
    "change",
    [{"unit": "word2"}, {"unit": []}, {"unit": "char"}, {"size": "9"}, {"settings": {"x": 1}}, {"unk_trained": 3}],
)
def test_meta_that_says_nothing_is_a_model_error(tmp_path, change):
    tokenizer = train("word")
    tokenizer.save(tmp_path)
    with pytest.raises(ModelError, match=r"config\.json"):
        load_tokenizer(tmp_path, {**tokenizer.meta(), **change})
    with pytest.raises(ModelError, match=r"config\.json"):
        load_tokenizer(tmp_path, {})


def test_ids_with_a_gap_are_a_model_error(tmp_path):
    tokenizer = train("word", ["a b"])
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace('"b": 3', '"b": 7'))
    with pytest.raises(ModelError, match="ids are not"):
        load_tokenizer(tmp_path, tokenizer.meta())


def test_what_decides_ids_is_in_the_fingerprint():
    prints = [tokenizer.fingerprint for tokenizer in MADE.values()]
    prints += [train("word", lines).fingerprint for lines in (["a b"], ["b a"], ["a b <unk>"])]
    assert len(set(prints)) == len(prints)
    assert train("word").fingerprint == train("word").fingerprint
    assert train("bpe").fingerprint == train("bpe").fingerprint


def test_the_treebank_has_ten_thousand_words(ptb):
    tokenizer = train_tokenizer(TextSource(ptb / "ptb.train.txt"), TextSettings())
    assert (tokenizer.size, tokenizer.unk_trained) == (10_000, True)
    assert [tokenizer.token(id) for id in range(4)] == ["</s>", "<unk>", "the", "N"]
