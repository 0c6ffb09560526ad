"""Mikolov's regime: one stream, a word at a time, as his toolkit rnnlm trains.

What differs from the equations of the design: V follows every word; U and W follow every `bptt_block` words, when the
errors that the block left at the hidden layer go back together through the block and `bptt - 2` steps before it; every
error that was multiplied by a matrix is cut to [-cutoff, cutoff]; beta is multiplied by alpha and applied with every
tenth word; the first state is all ones. The slow twin, written as the toolkit goes, is `network.reference_online`.

Source: T. Mikolov, rnnlm 0.2b to 0.4d (`CRnnLM::learnNet`); T. Mikolov et al., "Extensions of recurrent neural network
language model" (ICASSP 2011).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from elman.errors import TrainingError

SHRINK_EVERY = 10  # words between two applications of beta
NOTHING = -1  # the input where there is no word: before the stream, or outside the dictionary


def draw_weights(shape: Sequence[int], generator: torch.Generator, *, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return weights as the toolkit starts them: each the sum of three draws from uniform(-0.1, 0.1)."""
    draws = torch.rand((3, *shape), generator=generator, dtype=dtype)
    return draws.mul_(0.2).sub_(0.1).sum(0)


class OnlineLearner:
    """Train U, W and V in place on one stream of words.

    Inside a block U and W stand still, so a block's states are known before its words are learnt. V moves with every
    word, but by V(t) = V(0) + alpha sum_{i<t} s(i)^T e_o(i), so that the products with V need no V(t):

        s(t) V(t)        = s(t) V(0)       + alpha sum_{i<t} ( s(t) . s(i) ) e_o(i)
        e_o(t) V(t)^T    = e_o(t) V(0)^T   + alpha sum_{i<t} ( e_o(t) . e_o(i) ) s(i)

    A *run* is the words up to the next end of a block or tenth word (where beta shrinks V). It costs three GEMMs in
    place of three passes over V a word; V itself moves when the run ends, or with `settle`.

    Parameters
    ----------
    U, W, V : the weights, (D, H), (H, H) and (H, D), changed in place; of one float dtype, on the CPU.
    alpha : learning rate; may be set between two calls of `learn`.
    beta : L2 regularisation, multiplied by alpha. Where alpha * beta is under the resolution of the dtype (6e-8 for
        float32, so also for the toolkit's 0.1 * 1e-7) it rounds away.
    bptt, bptt_block : `bptt + bptt_block - 2` steps go back every `bptt_block` words; bptt <= 1 is plain
        backpropagation, one step after every word.
    cutoff : bound of each error that is carried through a matrix; None for no bound.
    frozen : U stays as it is.
    """

    def __init__(
        self,
        U: Tensor,
        W: Tensor,
        V: Tensor,
        *,
        alpha: float = 0.1,
        beta: float = 1e-7,
        bptt: int = 4,
        bptt_block: int = 10,
        cutoff: float | None = 15.0,
        frozen: bool = False,
    ) -> None:
        self.U, self.W, self.V = (weight.detach() for weight in (U, W, V))
        self.dictionary_size, self.hidden_size = U.shape
        self.alpha, self.beta = alpha, beta
        self.cutoff = float("inf") if cutoff is None else cutoff
        self.frozen = frozen
        self.block = bptt_block if bptt > 1 else 1
        self.past = max(bptt - 1, 1)  # rows kept from before the block; the last is the state before its first word
        rows, run = self.past + self.block, min(self.block, SHRINK_EVERY)
        self._states = U.new_ones(rows, self.hidden_size)
        self._inputs = torch.full((rows,), NOTHING, dtype=torch.long)
        self._errors = U.new_zeros(rows, self.hidden_size)  # what each word's e_o left at the hidden layer
        self._back = U.new_zeros(rows, self.hidden_size)
        self._carried = U.new_zeros(self.hidden_size)
        self._logits = U.new_zeros(run, self.dictionary_size)
        self._minus = U.new_zeros(run, self.dictionary_size)  # y - d = -e_o of the run's words
        self._views()
        self.reset()

    def _views(self) -> None:
        """Make the views that each word needs once: making one costs as much as a small product."""
        self._state_rows = self._states.unbind()
        self._logit_rows = self._logits.unbind()
        self._minus_rows = self._minus.unbind()
        self._minus_before = [self._minus[:t].t() for t in range(len(self._minus))]
        self._logits_np: np.ndarray = self._logits.numpy()  # the same memory, for reading single numbers
        self._minus_np: np.ndarray = self._minus.numpy()
        self._W_t = self.W.t()

    def reset(self, first: int = 0) -> None:
        """Begin a new stream after the word `first`, with the state all ones and nothing behind it.

        Errors that wait for their block are dropped, as the toolkit drops them at the end of an epoch; call `settle`
        first to keep what the output layer has learnt.
        """
        self.counter = 0  # words learnt in this stream
        self.last = first
        self._settled = 0  # words whose e_o is in V
        self._states.fill_(1.0)
        self._inputs.fill_(NOTHING)
        self._errors.zero_()

    def learn(self, ids: Iterable[int] | Tensor) -> float:
        """Learn the next words of the stream; return their log-probability (nats), each scored before it is learnt.

        Cutting a stream into several calls changes no bit of the weights. A word outside 0 .. D-1 is not in the
        dictionary: it is neither scored nor learnt, and enters the next state as no word.

        Raises
        ------
        TrainingError
            when the log-probability is no number any more.
        """
        words = ids.tolist() if isinstance(ids, Tensor) else list(ids)
        words = [word if 0 <= word < self.dictionary_size else NOTHING for word in words]
        total, start = 0.0, 0
        while start < len(words):
            take = min(self._run_end() - self.counter, len(words) - start)
            total += self._learn_in_run(words[start : start + take])
            start += take
        if not -float("inf") < total <= 0.0:
            raise TrainingError(
                f"the log-probability became {total} within {len(words)} words", hint="train with a smaller alpha"
            )
        return total

    def _run_end(self) -> int:
        """Return the counter with which the current run ends."""
        ends = (self._settled // every * every + every for every in (self.block, SHRINK_EVERY))
        return min(ends)

    def _learn_in_run(self, words: list[int]) -> float:
        begin, done = self._settled, self.counter - self._settled  # done: words of this run that earlier calls learnt
        self._advance(words)
        first, length = self.past + begin % self.block, self._run_end() - begin
        S = self._states[first : first + length]  # full length also when its end is unknown: a GEMM's bits follow shape
        torch.mm(S, self.V, out=self._logits[:length])
        total = self._output_layer(words, S @ S.t(), done)
        self.counter += len(words)
        if self.counter == begin + length:
            self._settle(S)
            if self.counter % self.block == 0:
                self._backward()
        return total

    def _advance(self, words: list[int]) -> None:
        """Compute the states from which `words` are predicted: s(t) = sigmoid( w(t) U + s(t-1) W )."""
        inputs = torch.tensor([self.last, *words[:-1]])
        row = self.past + self.counter % self.block
        states = self._states[row : row + len(words)]
        torch.mul(self.U[inputs.clamp(min=0)], (inputs >= 0).unsqueeze(1), out=states)
        for r in range(row, row + len(words)):
            self._state_rows[r].addmv_(self._W_t, self._state_rows[r - 1]).sigmoid_()
        self._inputs[row : row + len(words)] = inputs
        self.last = words[-1]

    def _output_layer(self, words: list[int], products: Tensor, done: int) -> float:
        """Score `words` one by one with the V that all words before them have moved."""
        total = 0.0
        for t, (word, near) in enumerate(zip(words, products[done:].unbind(), strict=False), start=done):
            logits, minus = self._logit_rows[t], self._minus_rows[t]
            if word == NOTHING:
                minus.zero_()
                continue
            if t:
                logits.addmv_(self._minus_before[t], near[:t], alpha=-self.alpha)
            torch.log_softmax(logits, 0, out=logits)
            torch.exp(logits, out=minus)
            self._minus_np[t, word] -= 1.0
            total += float(self._logits_np[t, word])
        return total

    def settle(self) -> None:
        """Bring V up to date in the middle of a run: before validation, or before V is read.

        What is learnt afterwards is the same up to rounding.
        """
        length = self.counter - self._settled
        if length:
            first = self.past + self._settled % self.block
            self._settle(self._states[first : first + length])

    def _settle(self, S: Tensor) -> None:
        """Store the hidden errors of the settled words and move V by their rank-one updates."""
        first, length = self.past + self._settled % self.block, len(S)
        minus = self._minus[:length]
        errors = torch.mm(minus, self.V.t()).neg_()
        errors.addmm_(torch.mm(minus, minus.t()).tril_(-1), S, alpha=self.alpha)
        self._errors[first : first + length] = errors.clamp_(-self.cutoff, self.cutoff)
        shrink = self._shrink(self._settled + length)
        if shrink != 1.0:
            S = torch.cat((S[:-1] * shrink, S[-1:]))  # beta comes with the last word: all before it has shrunk
        self.V.addmm_(S.t(), minus, alpha=-self.alpha, beta=shrink)
        self._settled += length

    def _shrink(self, counter: int) -> float:
        return 1.0 - self.alpha * self.beta if counter % SHRINK_EVERY == 0 else 1.0

    def _backward(self) -> None:
        """Send the block's errors back, move U and W, and keep the last states and words as the past of the next."""
        S, back, carried = self._states, self._back, self._carried
        torch.addcmul(S, S, S, value=-1.0, out=back)  # s (1 - s), to become the errors e_h
        errors, rows = self._errors.unbind(), back.unbind()
        carried.copy_(errors[-1])
        for r in range(len(rows) - 1, 0, -1):
            torch.mv(self.W, rows[r].mul_(carried), out=carried)
            carried.clamp_(-self.cutoff, self.cutoff).add_(errors[r - 1])
        if not self.frozen:
            self._move_inputs(back[1:])
        self.W.addmm_(S[:-1].t(), back[1:], alpha=self.alpha, beta=self._shrink(self.counter))
        S[: self.past] = S[self.block :].clone()
        self._inputs[: self.past] = self._inputs[self.block :].clone()
        self._errors.zero_()

    def _move_inputs(self, back: Tensor) -> None:
        inputs, shrink = self._inputs[1:], self._shrink(self.counter)
        known = inputs >= 0
        words = inputs[known]
        if shrink != 1.0:
            self.U[words] = self.U[words] * shrink  # a word that comes twice is written twice, with the same value
        self.U.index_add_(0, words, back[known], alpha=self.alpha)

    def state_tensors(self) -> dict[str, Tensor]:
        """Return copies of everything but the weights and settings that the next `learn` depends on."""
        return {
            "counters": torch.tensor([self.counter, self._settled, self.last]),
            "states": self._states.clone(),
            "inputs": self._inputs.clone(),
            "errors": self._errors.clone(),
            "minus": self._minus[: self.counter - self._settled].clone(),
        }

    def load_state_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Go on where `state_tensors` was taken, bit for bit, given the same weights and settings.

        Raises
        ------
        TrainingError
            when the tensors are of a learner with another hidden size, bptt or bptt_block.
        """
        mine = {"states": self._states, "inputs": self._inputs, "errors": self._errors}
        for name, buffer in mine.items():
            if name not in tensors or tensors[name].shape != buffer.shape:
                found = tuple(tensors[name].shape) if name in tensors else "missing"
                raise TrainingError(
                    f"the online state's {name} is {found} and should be {tuple(buffer.shape)}",
                    hint="resume with the hidden size, bptt and bptt_block of the checkpoint",
                )
        for name, buffer in mine.items():
            buffer.copy_(tensors[name])
        self.counter, self._settled, self.last = (int(value) for value in tensors["counters"])
        self._minus[: self.counter - self._settled] = tensors["minus"]
