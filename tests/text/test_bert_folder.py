"""The folder of a BERT without transformers: pieces of words, vectors of words, and what is said of a broken one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tokenizers as hf
from safetensors.numpy import save_file

from elman.config import TextSettings
from elman.errors import ModelError
from elman.text.bert import MOST_PIECES, open_bert
from elman.text.vectors import file_of, read_vectors, vector_size
from elman.text.words import WordTokenizer

CAT, DOG, S, SEE, N = 6, 7, 8, 9, 10


def test_a_word_is_its_pieces_and_none_where_one_is_unknown(bert_folder: Path) -> None:
    folder = open_bert(bert_folder)
    assert [folder.pieces(word) for word in ("cat", "Dogs", "seen", "cow", "catcow")] == [
        [CAT],
        [DOG, S],
        [SEE, N],
        [],
        [],
    ]


def test_a_tokenizer_json_is_read_as_a_vocabulary_is_and_neither_cut_nor_padded(bert_folder: Path) -> None:
    library = hf.BertWordPieceTokenizer(str(bert_folder / "vocab.txt"))
    library.enable_padding(length=5)
    library.enable_truncation(3)
    library.save(str(bert_folder / "tokenizer.json"))
    (bert_folder / "vocab.txt").unlink()
    assert open_bert(bert_folder).pieces("dogss") == [DOG, S, S]


def test_capitals_count_where_the_folder_says_so(bert_folder: Path) -> None:
    (bert_folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    folder = open_bert(bert_folder)
    assert folder.pieces("cat") == [CAT]
    assert folder.pieces("Cat") == []


def test_pieces_of_a_dictionary_end_a_sentence_with_sep_and_know_unk(bert_folder: Path) -> None:
    tokenizer = WordTokenizer.train(["dogs cow <unk>", "dog" + "s" * 20], TextSettings())
    table = open_bert(bert_folder).pieces_of(tokenizer)
    rows = {tokenizer.token(id): [piece for piece in row if piece >= 0] for id, row in enumerate(table.tolist())}
    long = [DOG] + [S] * (MOST_PIECES - 1)
    assert rows == {"</s>": [3], "<unk>": [1], "dogs": [DOG, S], "cow": [1], "dog" + "s" * 20: long}


def test_a_word_has_the_mean_vector_of_its_pieces(bert_folder: Path) -> None:
    found = read_vectors(bert_folder, wanted=["dogs", "cat", "cow", "</s>", "<unk>"])
    assert found.words == ["cat", "dogs"]
    np.testing.assert_allclose(found.matrix, [[CAT, CAT / 2, 1], [(DOG + S) / 2, (DOG + S) / 4, 1]])
    assert vector_size(bert_folder) == found.size == 3
    assert file_of(bert_folder) == str(bert_folder / "model.safetensors")
    assert set(read_vectors(bert_folder).words) == {"the", "cat", "dog", "see", "a", "bird", "sings", "mouse"}


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def no_tokenizer(folder: Path) -> None:
    (folder / "vocab.txt").unlink()


def cut(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:-1])


def other_kind(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2", "hidden_size": 3}))


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def no_sizes(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))


def other_weights(folder: Path) -> None:
    save_file({"weight": np.zeros((2, 2), dtype=np.float32)}, folder / "model.safetensors")


def no_marks(folder: Path) -> None:
    (folder / "vocab.txt").write_text("a\nb\n[UNK]\n")


def other_pieces(folder: Path) -> None:
    hf.Tokenizer(hf.models.WordPiece({"a": 0, "[UNK]": 1}, unk_token="[UNK]")).save(str(folder / "tokenizer.json"))


def broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


WRONG = [
    (no_config, "bert has no config.json"),
    (no_weights, "bert has no model.safetensors"),
    (no_tokenizer, "bert has no tokenizer.json and no vocab.txt"),
    (cut, "model.safetensors cannot be read"),
    (other_kind, "holds no BERT: its config.json says model_type 'gpt2'"),
    (broken_config, "config.json is not JSON"),
    (no_sizes, "gives no sizes that can be"),
    (other_weights, "has no matrix word_embeddings.weight"),
    (no_marks, "vocab.txt is broken: sep_token not found"),
    (other_pieces, r"has no \[CLS\], \[SEP\] or \[UNK\]"),
    (broken_tokenizer, "tokenizer.json is broken"),
]


@pytest.mark.parametrize(("breaking", "sentence"), WRONG, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_wrong_with_a_folder_is_said(
    breaking: Callable[[Path], None], sentence: str, bert_folder: Path
) -> None:
    breaking(bert_folder)
    with pytest.raises(ModelError, match=sentence) as caught:
        open_bert(bert_folder)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere should be the folder of a BERT, and does not exist"):
        open_bert(tmp_path / "nowhere")


def test_the_digest_is_of_the_weights_and_of_the_sizes(bert_folder: Path) -> None:
    before = open_bert(bert_folder).digest
    (bert_folder / "vocab.txt").write_text((bert_folder / "vocab.txt").read_text() + "more\n")
    assert open_bert(bert_folder).digest == before
    data = bytearray((bert_folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (bert_folder / "model.safetensors").write_bytes(data)
    assert open_bert(bert_folder).digest != before
