"""What word vectors know: their neighbours, analogies, and how alike people find two words. NumPy only, for files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from elman.errors import ModelError, TextError, UsageError
from elman.errors import nearest as spelt_like
from elman.text.reading import TextSource
from elman.text.vector_formats import Vector
from elman.text.vector_writing import is_writable
from elman.text.vectors import WordVectors, read_vectors

SCORES = 1 << 24
"""Cosines that are in memory at a time while analogies are answered."""

GUESSES = 20_000
"""Words, the first of a file, among which one that is spelt like an unknown word is looked for."""


def open_vectors(path: str | Path, *, first: int | None = None) -> WordVectors:
    """Read vectors from a file, or the rows of U from the folder of a model; `first` keeps only so many rows."""
    if not Path(path).is_dir():
        return read_vectors(path, first=first)
    vectors, _ = model_vectors(path)
    if first is None:
        return vectors
    return WordVectors(vectors.words[:first], vectors.matrix[:first], vectors.name, vectors.kind, vectors.rows)


def model_vectors(folder: str | Path) -> tuple[WordVectors, list[str]]:
    """Return the rows of U of a model by the symbols that they belong to, and the symbols left out.

    The sentence end `</s>` is a word, as word2vec has it, and so is an `<unk>` that training saw. An `<unk>` that it
    never saw is left out, for its row is zero; so are symbols that no file of vectors can hold: spaces and their kin.

    Raises
    ------
    ModelError
        for a folder that holds no model, or one whose encoder has no row a symbol.
    """
    from elman.network.folder import load_model

    model = load_model(folder)
    network, tokenizer = model.network, model.tokenizer
    if network.settings.encoder != "one-hot":
        raise ModelError(
            f"{folder} encodes symbols by {network.settings.encoder!r}: U has no row for each word",
            hint="give a model whose network.encoder is one-hot",
        )
    silent = None if tokenizer.unk_trained else tokenizer.unk_id
    words = {id: tokenizer.token(id) for id in range(tokenizer.size)}
    kept = [id for id, word in words.items() if id != silent and is_writable(word)]
    matrix: Vector = network.encoder.U.detach().float().numpy()[kept]
    vectors = WordVectors([words[id] for id in kept], matrix, str(folder), "rows of U", len(words))
    return vectors, [word for id, word in words.items() if id not in set(kept)]


def unit_rows(matrix: Vector) -> Vector:
    """Return the rows of a matrix at length one; a row of zeros stays."""
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    rows: Vector = np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 0)
    return rows


def find_word(vectors: WordVectors, word: str) -> int:
    """Return the row of a word, as it is written or else in lower case, or raise `UsageError`."""
    place = vectors.place(word)
    if place is None:
        close = spelt_like(word, vectors.words[:GUESSES])
        raise UsageError(
            f"{vectors.name} has no vector for {word!r}",
            hint=f"did you mean {close}?" if close else "its words may be of another language or writing",
        )
    return place


def nearest(vectors: WordVectors, word: str, top: int = 10) -> list[tuple[str, float]]:
    """Return the words whose vectors have the largest cosine with that of `word`, the likest first, without itself."""
    place = find_word(vectors, word)
    rows = unit_rows(vectors.matrix)
    cosines = rows @ rows[place]
    cosines[place] = -np.inf
    order = np.argsort(-cosines, kind="stable")[: min(top, len(rows) - 1)]
    return [(vectors.words[other], float(cosines[other])) for other in order]


@dataclass
class Section:
    """How one kind of analogies went: questions asked, answered right, and skipped as a word of them is unknown."""

    name: str
    asked: int = 0
    right: int = 0
    skipped: int = 0

    @property
    def accuracy(self) -> float | None:
        """The share of right answers, or None where nothing could be asked."""
        return self.right / self.asked if self.asked else None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self) | {"accuracy": self.accuracy}


def analogies(vectors: WordVectors, questions: str | Path) -> list[Section]:
    """Answer "a is to b as c is to what?" by 3CosAdd; return the sections of the file, and their total.

    The answer is the word x, none of a, b and c, with the largest cos( x, b - a + c ), all vectors at length one
    first. A question with an unknown word is skipped; a word is looked up as it is written, else in lower case.

    Source: T. Mikolov, W. Yih and G. Zweig, "Linguistic regularities in continuous space word representations" (NAACL
    2013), and the file questions-words.txt of word2vec.

    Raises
    ------
    TextError
        for a line that is neither `: section` nor four words.
    """
    sections: list[Section] = []
    asked: list[list[int]] = []
    owners: list[Section] = []
    for section, words in _questions(TextSource(questions)):
        if not sections or sections[-1] is not section:
            sections.append(section)
        places = [place for word in words if (place := vectors.place(word)) is not None]
        if len(places) < 4:
            section.skipped += bool(words)
            continue
        asked.append(places)
        owners.append(section)
    if not any(section.skipped for section in sections) and not asked:
        raise TextError(f"{questions} holds no question", hint="a question is four words on a line")
    rows = unit_rows(vectors.matrix)
    for section, places, answer in zip(owners, asked, _answers(rows, np.array(asked or [[0] * 4])), strict=False):
        section.asked += 1
        section.right += answer == places[3]
    counts = ("asked", "right", "skipped")
    total = Section("total", **{name: sum(getattr(section, name) for section in sections) for name in counts})
    return [*sections, total]


def _questions(source: TextSource) -> Iterator[tuple[Section, list[str]]]:
    """Give the section and the words of each question; a section comes once with no words when it begins."""
    section: Section | None = None
    for number, line in enumerate(source.lines(), start=1):
        words = line.split()
        if line.startswith(":"):
            section = Section(line[1:].strip())
            yield section, []
        elif words and len(words) != 4:
            raise TextError(
                f"{source.name}, line {number}: a question is four words, and this line has {len(words)}",
                hint="for example: Athens Greece Berlin Germany; sections begin with a colon",
            )
        elif words:
            section = section or Section("no section")
            yield section, words


def _answers(rows: Vector, asked: NDArray[Any]) -> Iterator[int]:
    """Give the answer to each question, (Q, 4), many at a time."""
    block = max(1, SCORES // len(rows))
    for start in range(0, len(asked), block):
        a, b, c = asked[start : start + block, :3].T
        scores = (rows[b] - rows[a] + rows[c]) @ rows.T
        for given in (a, b, c):
            scores[np.arange(len(scores)), given] = -np.inf
        yield from scores.argmax(axis=1).tolist()


@dataclass(frozen=True)
class Similarity:
    """How the cosines of pairs of words go along with what people say: Spearman's correlation of the ranks."""

    spearman: float
    pairs: int
    skipped: int


def similarity(vectors: WordVectors, pairs: str | Path) -> Similarity:
    """Compare cosines with people's judgements: lines of two words and a number, with tabs, commas or spaces between.

    A first line whose third field is no number is a heading, one that begins with `#` a remark. A pair with an unknown
    word is skipped.

    Raises
    ------
    TextError
        for a line that is no pair, or fewer than two pairs of known words.
    """
    rows = unit_rows(vectors.matrix)
    cosines, judged, skipped = [], [], 0
    for one, other, score in _pairs(TextSource(pairs)):
        places = vectors.place(one), vectors.place(other)
        if places[0] is None or places[1] is None:
            skipped += 1
            continue
        cosines.append(float(rows[places[0]] @ rows[places[1]]))
        judged.append(score)
    if len(judged) < 2:
        raise TextError(
            f"{vectors.name} knows both words of only {len(judged)} of the {len(judged) + skipped} pairs of {pairs}",
            hint="two at least are needed to compare ranks",
        )
    return Similarity(spearman(np.array(cosines), np.array(judged)), len(judged), skipped)


def _pairs(source: TextSource) -> Iterator[tuple[str, str, float]]:
    for number, line in enumerate(source.lines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        mark = next((mark for mark in "\t,;" if mark in line), None)
        fields = [field.strip() for field in line.split(mark)]
        try:
            one, other, score = fields[0], fields[1], float(fields[2])
            if not np.isfinite(score):
                raise ValueError
        except (ValueError, IndexError):
            if number == 1 and len(fields) > 2:
                continue
            raise TextError(
                f"{source.name}, line {number}: a pair is two words and a number",
                hint="for example: tiger cat 7.35",
            ) from None
        yield one, other, score


def ranks(values: NDArray[Any]) -> NDArray[Any]:
    """Return the rank of each value, from 1; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def spearman(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return Spearman's rank correlation: Pearson's of the ranks; nan where all values of one side are equal.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 30.0, 20.0]))
    0.5
    """
    x, y = ranks(one), ranks(other)
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm else float("nan")
