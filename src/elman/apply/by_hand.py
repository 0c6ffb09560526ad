"""The whiteboard, computed: a network small enough to write down, and every number of its updates.

Each line of an update follows the equations of `network.reference`, in float64:

    s(t) = f( w(t) U + s(t-1) W )        y(t) = g( s(t) V )        e_o(t) = d(t) - y(t)
    e_h(t) = ( e_o(t) V^T ) * f'(s(t))   e_h(t-k-1) = ( e_h(t-k) W^T ) * f'(s(t-k-1)),   k = 0 .. bptt-1
    V <- V + alpha s(t)^T e_o(t) - beta V
    U <- U + alpha sum_k w(t-k)^T e_h(t-k) - beta U
    W <- W + alpha sum_k s(t-k-1)^T e_h(t-k) - beta W

Before every update the network reads the sentence anew, with the weights that it has by then. What it learns from is
the last word alone (the lines above, where t is the end of the sentence) or, as `elman train` does it, all words of a
window of bptt words at once, where e_h(t) = ( e_o(t) V^T + e_h(t+1) W^T ) * f'(s(t)).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from itertools import chain
from typing import Any

import numpy as np

from elman.apply.by_hand_task import Task
from elman.errors import TrainingError
from elman.network.reference import (
    Array,
    Layer,
    Weights,
    activation,
    derivative,
    initial_state,
    log_probabilities,
    log_softmax,
    one_hot,
    update,
)


@dataclass(frozen=True)
class Matrices:
    """All that is learnt, or what is added to it: U (D, H), W (H, H) and V (H, D)."""

    U: Array
    W: Array
    V: Array

    def reference(self, f: str) -> Weights:
        """Return them in the form that `network.reference` takes."""
        return Weights([Layer(self.U, self.W)], self.V, f=f)


@dataclass(frozen=True)
class Reading:
    """One word that is read, and the next that is guessed: the forward lines at time t.

    `w` and `d`, (D,), are one-hot; `before` is s(t-1); `drive` is a in s = f(a); `logits` is s V, `powers` is e to
    them, and `y` is `powers` by their sum; `slope` is f'(s). `learnt` says whether an update learns from the guess.
    """

    t: int
    word: str
    target: str
    word_id: int
    target_id: int
    w: Array
    before: Array
    from_word: Array
    from_before: Array
    drive: Array
    s: Array
    slope: Array
    logits: Array
    powers: Array
    y: Array
    d: Array
    e_o: Array
    log_probability: float
    learnt: bool


@dataclass(frozen=True)
class Back:
    """The error at the hidden layer at time t, (H,), and what it adds to the sums of the update.

    `from_output` is e_o(t) V^T where the word at t is learnt, `from_later` is e_h(t+1) W^T where an error comes from
    there; their sum times f'(s(t)) is e_h(t). `u_term` is w(t)^T e_h(t), `w_term` is s(t-1)^T e_h(t).
    """

    t: int
    from_output: Array | None
    from_later: Array | None
    arriving: Array
    e_h: Array
    u_term: Array
    w_term: Array


@dataclass(frozen=True)
class Faded:
    """How large the error of the last word is, k steps back: |e_h(t-k)|, and by what the step there multiplied it.

    `used` says whether the update takes it in. A factor is None at k = 0, and after an error of zero.
    """

    k: int
    t: int
    word: str
    e_h: Array
    norm: float
    factor: float | None
    used: bool


@dataclass(frozen=True)
class Update:
    """One update, all of it: `before` and `after` hold the weights, `gradient` the sums that alpha multiplies.

    `readings` are in the order of the sentence; errors go back to the one with index `first`, newest first in `back`.
    `mean_factor` is the geometric mean of the factors of `fading`, None where there are none or the error becomes zero.
    `left_out` says what share of the sums for U and W (norm of the difference by norm of the whole) is missing because
    the last word's error goes no further; None where every word is learnt. `log_probabilities` are those of all words
    of the sentence, after the update and from s(0) = 0 on; `perplexity` is of those that are learnt,
    `sentence_perplexity` of them all.
    """

    number: int
    before: Matrices
    readings: list[Reading]
    first: int
    back: list[Back]
    fading: list[Faded]
    mean_factor: float | None
    left_out: dict[str, float] | None
    gradient: Matrices
    after: Matrices
    log_probabilities: list[float]
    perplexity: float
    sentence_perplexity: float


@dataclass(frozen=True)
class ByHand:
    """All that stands on the whiteboard; scores are from before the first update, as those of an `Update` after it."""

    task: Task
    updates: list[Update]
    log_probabilities: list[float]
    perplexity: float
    sentence_perplexity: float

    @property
    def start(self) -> Matrices:
        """The weights before the first update."""
        return self.updates[0].before

    @property
    def end(self) -> Matrices:
        """The weights after the last update."""
        return self.updates[-1].after

    def as_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values; a matrix is a list of its rows."""
        return {
            **plain(self.task),
            "log_probabilities": self.log_probabilities,
            "perplexity": self.perplexity,
            "sentence_perplexity": self.sentence_perplexity,
            "updates": plain(self.updates),
        }


def plain(value: Any) -> Any:  # noqa: ANN401 - any value that is computed here
    """Turn dataclasses and arrays into plain JSON values."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def draw_weights(task: Task, generator: np.random.Generator) -> Matrices:
    """Draw weights from -1 to 1, none of them 0, with one digit after the point: they can be copied from the board.

    ReLU has a kink at 0, where two ways to add up the same round numbers may come out on either side: three digits.
    """
    steps = 1000 if task.activation == "relu" else 10
    D, H = len(task.dictionary), task.hidden

    def drawn(*shape: int) -> Array:
        sizes, signs = generator.integers(1, steps, shape, endpoint=True), generator.choice([-1.0, 1.0], shape)
        return np.asarray(sizes * signs / steps)

    return Matrices(drawn(D, H), drawn(H, H), drawn(H, D))


def by_hand(task: Task, start: Matrices) -> ByHand:
    """Compute all updates of a task from the weights that it starts from.

    Raises
    ------
    TrainingError
        where a number leaves what float64 can hold.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        scored = score(task, start)
        updates: list[Update] = []
        matrices, state = start, np.zeros(task.hidden)
        for number in range(1, task.steps + 1):
            first, stop, anew = _window(task, number)
            if anew:
                state = np.zeros(task.hidden)
            done = _update(task, matrices, state, number, range(first, stop))
            _check_finite(done)
            updates.append(done)
            matrices, state = done.after, done.readings[-1].s
    return ByHand(task, updates, scored, perplexity(_of_learnt(task, scored)), perplexity(scored))


def score(task: Task, matrices: Matrices) -> list[float]:
    """Return log Pr of every word but the first, each after those before it, from s(0) = 0 on."""
    weights, ids = matrices.reference(task.activation), np.array(task.ids)
    log_y = log_probabilities(weights, initial_state(weights, 1), ids[:-1, np.newaxis])
    return [float(row[0, target]) for row, target in zip(log_y, ids[1:], strict=True)]


def perplexity(log_probabilities: Sequence[float]) -> float:
    """Return exp( - mean log Pr ).

    >>> round(perplexity([math.log(0.5), math.log(0.125)]), 9)
    4.0
    """
    try:
        return math.exp(-sum(log_probabilities) / len(log_probabilities))
    except OverflowError:
        return math.inf


def _of_learnt(task: Task, log_probabilities: list[float]) -> list[float]:
    return log_probabilities[-1:] if task.learn == "last" else log_probabilities


def _window(task: Task, number: int) -> tuple[int, int, bool]:
    """Return from where to where an update reads the sentence, half-open, and whether it begins with s(0) = 0."""
    length = len(task.sentence) - 1
    if task.learn == "last":
        return 0, length, True
    start = (number - 1) % math.ceil(length / task.bptt) * task.bptt
    return start, min(start + task.bptt, length), start == 0


def _update(task: Task, matrices: Matrices, state: Array, number: int, places: range) -> Update:
    last, all_words = places[-1], task.learn == "all"
    readings: list[Reading] = []
    for place in places:
        readings.append(_read(task, matrices, state, place, learnt=all_words or place == last))
        state = readings[-1].s
    first = 0 if all_words else max(0, len(readings) - task.bptt)
    back = _send_back(matrices, readings[first:])
    fading, left_out = _fade(matrices, readings, len(readings) - first)
    gradient = Matrices(
        np.asarray(sum(error.u_term for error in back)),
        np.asarray(sum(error.w_term for error in back)),
        np.asarray(sum(np.outer(reading.s, reading.e_o) for reading in readings if reading.learnt)),
    )
    f = task.activation
    moved = update(matrices.reference(f), gradient.reference(f), alpha=task.alpha, beta=task.beta)
    assert moved.V is not None, "U and V are not tied"
    after = Matrices(moved.layers[0].U, moved.layers[0].W, moved.V)
    scored = score(task, after)
    return Update(
        number,
        matrices,
        readings,
        first,
        back,
        fading,
        _mean_factor(fading),
        None if all_words else left_out,
        gradient,
        after,
        scored,
        perplexity(_of_learnt(task, scored)),
        perplexity(scored),
    )


def _read(task: Task, matrices: Matrices, before: Array, place: int, *, learnt: bool) -> Reading:
    """Compute the forward lines for the word at a place of the sentence."""
    D, f, word, target = len(task.dictionary), task.activation, task.ids[place], task.ids[place + 1]
    w, d = one_hot(np.array(word), D), one_hot(np.array(target), D)
    from_word, from_before = w @ matrices.U, before @ matrices.W
    drive = from_word + from_before
    s = activation(f, drive)
    logits = s @ matrices.V
    log_y = log_softmax(logits)
    y = np.exp(log_y)
    return Reading(
        t=place + 1,
        word=task.sentence[place],
        target=task.sentence[place + 1],
        word_id=word,
        target_id=target,
        w=w,
        before=before,
        from_word=from_word,
        from_before=from_before,
        drive=drive,
        s=s,
        slope=derivative(f, s),
        logits=logits,
        powers=np.exp(logits),
        y=y,
        d=d,
        e_o=d - y,
        log_probability=float(log_y[target]),
        learnt=learnt,
    )


def _send_back(matrices: Matrices, readings: list[Reading]) -> list[Back]:
    """Send the errors of what is learnt back through time, newest first."""
    errors: list[Back] = []
    for reading in reversed(readings):
        from_output = reading.e_o @ matrices.V.T if reading.learnt else None
        from_later = errors[-1].e_h @ matrices.W.T if errors else None
        arriving = np.asarray(sum(part for part in (from_output, from_later) if part is not None))
        e_h = arriving * reading.slope
        u_term, w_term = np.outer(reading.w, e_h), np.outer(reading.before, e_h)
        errors.append(Back(reading.t, from_output, from_later, arriving, e_h, u_term, w_term))
    return errors


def _fade(matrices: Matrices, readings: list[Reading], used: int) -> tuple[list[Faded], dict[str, float]]:
    """Follow the last word's error alone to the beginning; return it, and what share of the sums is not `used`."""
    e_h = (readings[-1].e_o @ matrices.V.T) * readings[-1].slope
    faded: list[Faded] = []
    terms: dict[str, list[Array]] = {"U": [], "W": []}
    for k, reading in enumerate(reversed(readings)):
        if k:
            e_h = (e_h @ matrices.W.T) * reading.slope
        norm, before = float(np.linalg.norm(e_h)), faded[-1].norm if faded else 0.0
        faded.append(Faded(k, reading.t, reading.word, e_h, norm, norm / before if before else None, k < used))
        terms["U"].append(np.outer(reading.w, e_h))
        terms["W"].append(np.outer(reading.before, e_h))
    return faded, {name: _share(sums[used:], sums) for name, sums in terms.items()}


def _mean_factor(fading: list[Faded]) -> float | None:
    first, last = fading[0].norm, fading[-1].norm
    return (last / first) ** (1 / (len(fading) - 1)) if len(fading) > 1 and first and last else None


def _share(part: list[Array], whole: list[Array]) -> float:
    total = float(np.linalg.norm(np.asarray(sum(whole))))
    return float(np.linalg.norm(np.asarray(sum(part)))) / total if part and total else 0.0


def _check_finite(done: Update) -> None:
    if not all(np.isfinite(array).all() for array in _arrays(done)):
        raise TrainingError(
            f"the numbers outgrew the whiteboard in update {done.number}",
            hint="give a smaller --alpha, or another --seed",
        )


def _arrays(done: Update) -> Iterator[Array]:
    for matrices in (done.gradient, done.after):
        yield from (matrices.U, matrices.W, matrices.V)
    for part in chain(done.readings, done.back, done.fading):
        yield from (value for value in vars(part).values() if isinstance(value, np.ndarray))
    yield np.array([done.sentence_perplexity, done.perplexity, *done.log_probabilities])
