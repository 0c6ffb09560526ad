"""`elman vectors`: word vectors out of a model or a text, and what they know."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.common import Json, Text, note, print_json
from elman.cli.ngram import check_out
from elman.settings import MOST_THREADS

if TYPE_CHECKING:
    from elman.text.vectors import WordVectors

app = typer.Typer(
    name="vectors",
    help="Word vectors: rows of U or files of others; neighbours, analogies, similarity.",
    no_args_is_help=False,
    rich_markup_mode=None,
)

Vectors = Annotated[
    str,
    typer.Argument(
        metavar="FILE|MODEL",
        help="word2vec text or binary, GloVe or fastText, plain or gzip, - is standard input; or a model",
    ),
]
First = Annotated[int | None, typer.Option(min=2, help="use only so many words, the first of the file")]
Out = Annotated[str, typer.Option("--out", help="the file to write, packed if it ends in .gz; - is stdout")]
Binary = Annotated[bool, typer.Option("--binary", help="write word2vec's binary format, not its text")]


@app.callback(invoke_without_command=True)
def vectors(context: typer.Context) -> None:
    """Word vectors: rows of U or files of others; neighbours, analogies, similarity."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("from")
def from_model(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="the folder of a model")],
    out: Out,
    binary: Binary = False,
    as_json: Json = False,
) -> None:
    """Write the rows of U of a model in word2vec's format, </s> and an <unk> that training saw among the words."""
    check_out(out, as_json)
    from elman.apply.word_vectors import model_vectors

    found, left_out = model_vectors(model)
    write(found, out, binary, as_json, {"left_out": left_out})
    if left_out:
        note(f"left out, as their row says nothing or no such file can hold them: {', '.join(map(repr, left_out))}")


@app.command()
def nearest(
    vectors: Vectors,
    words: Annotated[list[str], typer.Argument(metavar="WORD...", help="words, as they are or else in lower case")],
    top: Annotated[int, typer.Option(min=1, help="how many answers")] = 10,
    first: First = None,
    as_json: Json = False,
) -> None:
    """List the words that are likest to a word: those of the largest cosine."""
    from elman.apply.word_vectors import find_word, open_vectors
    from elman.apply.word_vectors import nearest as run

    found = open_vectors(vectors, first=first)
    answers = {word: run(found, word, top) for word in words}
    if as_json:
        entries = [
            {
                "word": word,
                "found": found.words[find_word(found, word)],
                "nearest": [{"word": other, "cosine": cosine} for other, cosine in answer],
            }
            for word, answer in answers.items()
        ]
        print_json({"file": vectors, "vectors": len(found.words), "size": found.size, "words": entries})
        return
    for word, answer in answers.items():
        if len(answers) > 1:
            print(f"{word}:")
        width = max((len(other) for other, _ in answer), default=0)
        for other, cosine in answer:
            print(f"{other:<{width}}  {cosine:.4f}")


@app.command()
def analogy(
    vectors: Vectors,
    questions: Annotated[
        str, typer.Argument(metavar="QUESTIONS", help="four words a line, sections after a colon: questions-words.txt")
    ],
    first: First = None,
    as_json: Json = False,
) -> None:
    """Answer "Athens is to Greece as Berlin is to what?", and say how often that was right (3CosAdd)."""
    check_inputs(vectors, questions)
    from elman.apply.word_vectors import analogies, open_vectors

    found = open_vectors(vectors, first=first)
    sections = analogies(found, questions)
    if as_json:
        *parts, total = [section.as_dict() for section in sections]
        print_json({"file": vectors, "questions": questions, "vectors": len(found.words), **total, "sections": parts})
        return
    width = max(len(section.name) for section in sections)
    for section in sections:
        share = "-" if section.accuracy is None else f"{100 * section.accuracy:.1f} %"
        print(f"{section.name:<{width}}  {share:>7}  {section.right} of {section.asked}, {section.skipped} skipped")


@app.command()
def similarity(
    vectors: Vectors,
    pairs: Annotated[
        str, typer.Argument(metavar="PAIRS", help="two words and a number a line, as WS-353 has it: how alike they are")
    ],
    first: First = None,
    as_json: Json = False,
) -> None:
    """Say how well cosines go along with what people find alike: Spearman's rank correlation."""
    check_inputs(vectors, pairs)
    from elman.apply.word_vectors import open_vectors
    from elman.apply.word_vectors import similarity as run

    found = open_vectors(vectors, first=first)
    result = run(found, pairs)
    if as_json:
        facts = {"spearman": result.spearman, "used": result.pairs, "skipped": result.skipped}
        print_json({"file": vectors, "pairs": pairs, "vectors": len(found.words), **facts})
        return
    print(f"Spearman {result.spearman:.4f} over {result.pairs} pairs, {result.skipped} skipped")


@app.command()
def train(
    text: Text,
    out: Out,
    size: Annotated[int, typer.Option(min=1, max=100_000, help="E, the numbers of a vector")] = 100,
    window: Annotated[int, typer.Option(min=1, help="words on each side that a word is to foresee, at most")] = 5,
    negatives: Annotated[int, typer.Option(min=1, help="words drawn against each of them")] = 5,
    min_count: Annotated[int, typer.Option(min=1, help="words rarer than this are left out")] = 5,
    epochs: Annotated[int, typer.Option(min=1, help="passes over the text")] = 5,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="lower-case the text first")] = False,
    split_punctuation: Annotated[
        bool, typer.Option("--split-punctuation", help="make every punctuation mark a word of its own")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="where randomness starts")] = 1,
    threads: Annotated[
        int, typer.Option(min=1, max=MOST_THREADS, help="more are faster, and make other vectors each time")
    ] = 1,
    binary: Binary = False,
    as_json: Json = False,
) -> None:
    """Learn word vectors from a text: skip-gram with negative sampling, by gensim (pip install 'elman[vectors]')."""
    check_out(out, as_json)
    from elman.config import TextSettings
    from elman.learn.skipgram import train_skipgram

    start = time.perf_counter()
    found = train_skipgram(
        text,
        text=TextSettings(lowercase=lowercase, split_punctuation=split_punctuation),
        size=size,
        window=window,
        negatives=negatives,
        min_count=min_count,
        epochs=epochs,
        seed=seed,
        threads=threads,
    )
    write(found, out, binary, as_json, {"seconds": round(time.perf_counter() - start, 1)})


def check_inputs(vectors: str, other: str) -> None:
    """Refuse to read two things from standard input."""
    from elman.errors import UsageError

    if vectors == other == "-":
        raise UsageError("standard input cannot be both files", hint="give a file for one of them")


def write(found: WordVectors, out: str, binary: bool, as_json: bool, more: dict[str, Any]) -> None:
    """Write vectors, and say what was written."""
    from elman.text.vector_writing import write_vectors

    write_vectors(out, found.words, found.matrix, binary=binary)
    if as_json:
        kind = "word2vec binary" if binary else "word2vec text"
        print_json({"file": out, "format": kind, "words": len(found.words), "size": found.size, **more})
        return
    say = note if out == "-" else print
    say(f"{out}: {len(found.words)} words of {found.size} numbers")
