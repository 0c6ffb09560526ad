"""U: how w(t) is encoded and what U makes of it.

An encoder turns the symbols of a window into the drive of the first layer, x(t) = w(t) U. It may look back, never
ahead. `ENCODERS` is the table that the settings, the docs and the contract tests read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from elman.config import NetworkSettings
from elman.errors import ModelError, UsageError
from elman.network.bert import FrozenBert, Window, bert_of
from elman.network.devices import on_device
from elman.network.history import contexts, keys, scattered
from elman.network.parts import Rows
from elman.text.bert import MOST_PIECES
from elman.text.symbols import Tokenizer


class OneHot(nn.Module):
    """w(t) is the one-hot row of the current symbol, so w(t) U is the row of U with that symbol's number.

    The matrix of zeros and ones is never made: the product is a row lookup.

    Parameters
    ----------
    dictionary_size
        D.
    drive_size
        columns of U: what the first cell takes (H for an Elman cell).
    settings
        of the network, for what else an encoder may want.
    """

    memory = 0
    """How many symbols before the current one it reads."""

    def __init__(self, dictionary_size: int, drive_size: int, settings: NetworkSettings) -> None:
        super().__init__()
        self.U = nn.Parameter(torch.zeros(dictionary_size, drive_size))

    def forward(self, symbols: Tensor, run: Tensor | None = None, *, sparse: bool = False) -> Tensor:
        """Return w(t) U, (T, B, H), for symbols (T, B); `sparse`: the gradient of U holds only the rows in use.

        `run`, (N + T, B), are the same symbols with the N before them, where the network keeps a history. Symbols may
        be on the CPU while U is on a GPU: which rows are in use is then found without waiting for the GPU.
        """
        if sparse and symbols.device.type == "cpu" != self.U.device.type:
            return look_up(self.U, symbols)
        return nn.functional.embedding(on_device(symbols, self.U.device), self.U, sparse=sparse)


class _LookUp(torch.autograd.Function):
    """The rows of U that are named, and in `U.parts` their gradient: added up for each row in use."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch gives no public type for it
        U: Tensor,
        ids: Tensor,
        places: Tensor,
    ) -> Tensor:
        ctx.U, ctx.ids, ctx.places = U, ids, places
        return U[ids][places]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - as above
        values = error.new_zeros(len(ctx.ids), error.shape[-1])
        # On a GPU this adds in a fixed order, which `index_add_` does not: the same run gives the same weights.
        values.index_put_((ctx.places.reshape(-1),), error.reshape(-1, error.shape[-1]), accumulate=True)
        ctx.U.parts = Rows(ctx.ids, values)
        return None, None, None


def look_up(U: Tensor, symbols: Tensor) -> Tensor:
    """Return U[symbols], (..., H), for symbols (...) on the CPU; U's gradient is left as `parts.Rows`."""
    ids, places = torch.unique(symbols, return_inverse=True)
    rows: Tensor = _LookUp.apply(U, on_device(ids, U.device), on_device(places, U.device))  # type: ignore[no-untyped-call]
    return rows


class NGrams(OneHot):
    """w(t) is one-hot over the symbols, and over the n-grams that end here, for several n at once.

        x(t) = U[w(t)] + sum over n of G_n[ w(t-n+1) .. w(t) ]

    One row of D^n for the last n symbols, or, where that is more than `network.buckets`, one of so many rows, drawn by
    lot (a hash): some n-grams then share a row. Where a text has not had n symbols yet, that n adds nothing. The G_n,
    in one matrix, start at zero: an n-gram that training never saw says no more than its last symbol.
    """

    def __init__(self, dictionary_size: int, drive_size: int, settings: NetworkSettings) -> None:
        super().__init__(dictionary_size, drive_size, settings)
        self.dictionary_size, self.orders = dictionary_size, settings.ngrams
        self.memory = max(self.orders) - 1
        self.sizes = [min(dictionary_size**n, settings.buckets) for n in self.orders]
        self.grams = nn.Parameter(torch.zeros(sum(self.sizes), drive_size))
        self.before_reading: Callable[[Tensor], None] | None = None  # hears which rows of G a window is about to read

    def rows(self, run: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Return the row of G for each n and symbol, and whether there is one, (steps, B, number of n)."""
        found, there, start = [], [], 0
        for n, size in zip(self.orders, self.sizes, strict=True):
            symbols = contexts(run, n, steps)
            if self.dictionary_size**n <= size:
                place = (symbols * self.dictionary_size ** torch.arange(n, device=run.device)).sum(-1)
            else:
                place = scattered(keys(symbols, self.dictionary_size)[0], size)
            known = keys(symbols, self.dictionary_size)[1]
            found.append(start + place * known)
            there.append(known)
            start += size
        return torch.stack(found, dim=-1), torch.stack(there, dim=-1)

    def forward(self, symbols: Tensor, run: Tensor | None = None, *, sparse: bool = False) -> Tensor:
        """Return U[w(t)] + sum_n G_n[..], (T, B, H)."""
        assert run is not None, "the network keeps the history that this encoder asks for"
        rows, there = (on_device(part, self.grams.device) for part in self.rows(run, len(symbols)))
        if self.before_reading is not None:
            self.before_reading(rows)
        of_grams = nn.functional.embedding(rows, self.grams, sparse=sparse)
        if there.device.type != "cpu" or not bool(there.all()):
            of_grams = of_grams * there.unsqueeze(-1)
        return super().forward(symbols, sparse=sparse) + of_grams.sum(-2)


class Bert(OneHot):
    """A BERT reads the last symbols up to w(t), and what it makes of w(t) goes through a matrix P, (E, H).

        x(t) = U[w(t)] + B( w(t-k+1) .. w(t) ) P,    k = network.bert_window

    B is the mean of BERT's last hidden layer over the pieces of w(t). BERT looks both ways, so it is shown no symbol
    after w(t), and reads anew for each t. It is no part of the network: it does not learn and is not saved, only the
    pieces of each word and a digest of its weights are. Pieces that are more than it can read are left out, the oldest
    first.
    """

    pieces: Tensor  # (D, MOST_PIECES), int32: the ids of each symbol's pieces, -1 where there are no more
    digest: Tensor  # (32,), uint8: of the BERT that P was learnt with

    def __init__(self, dictionary_size: int, drive_size: int, settings: NetworkSettings) -> None:
        super().__init__(dictionary_size, drive_size, settings)
        if settings.bert is None or settings.bert_size is None:
            hint = "give the folder of a BERT: elman train --input bert:DIR"
            raise UsageError(
                "network.encoder bert needs network.bert, and network.bert_size, which comes from it", hint=hint
            )
        self.path, self.memory, self.precision = settings.bert, settings.bert_window - 1, settings.bert_precision
        self.P = nn.Parameter(torch.zeros(settings.bert_size, drive_size))
        self.register_buffer("pieces", torch.full((dictionary_size, MOST_PIECES), -1, dtype=torch.int32))
        self.register_buffer("digest", torch.zeros(32, dtype=torch.uint8))
        self._bert: FrozenBert | None = None

    def learn(self, tokenizer: Tokenizer) -> None:
        """Take the pieces of the words of a dictionary, and the digest of BERT's weights, from its folder."""
        folder = bert_of(self.path, self.P.device, self.precision).folder
        self.pieces.copy_(torch.from_numpy(folder.pieces_of(tokenizer)))
        self.digest.copy_(torch.tensor(list(bytes.fromhex(folder.digest)), dtype=torch.uint8))

    @property
    def bert(self) -> FrozenBert:
        """The BERT, from its folder; it has to be the one that the network learnt with."""
        if self._bert is None or self._bert.device != self.P.device:
            found = bert_of(self.path, self.P.device, self.precision)
            if bytes(self.digest.tolist()).hex() != found.folder.digest:
                hint = "give network.bert, in the model's config.json, the folder of that one"
                raise ModelError(f"{self.path} holds another BERT than the one this model learnt with", hint=hint)
            self._bert = found
        return self._bert

    def windows(self, contexts: Tensor) -> list[Window]:
        """Return what BERT is shown for contexts, (N, k) ids, oldest first."""
        folder = self.bert.folder
        nothing = self.pieces.new_full((1, MOST_PIECES), -1)  # the last row, which -1, no symbol, finds
        pieces = torch.cat([self.pieces, nothing]).cpu().numpy()[contexts.cpu().numpy()]
        shown = []
        for ids, last in zip(pieces.reshape(len(pieces), -1), (pieces[:, -1] >= 0).sum(-1).tolist(), strict=True):
            read = ids[ids >= 0][2 - folder.longest :].tolist()
            shown.append(Window((folder.begin, *read, folder.end), last))
        return shown

    @torch.no_grad()
    def vectors(self, contexts: Tensor) -> Tensor:
        """Return B, (N, E), of the last symbols of contexts, (N, k)."""
        distinct, places = torch.unique(contexts.cpu(), dim=0, return_inverse=True)
        found = torch.from_numpy(self.bert(self.windows(distinct)))
        return found[places].to(self.P)

    def forward(self, symbols: Tensor, run: Tensor | None = None, *, sparse: bool = False) -> Tensor:
        """Return U[w(t)] + B P, (T, B, H)."""
        assert run is not None, "the network keeps the history that this encoder asks for"
        read = contexts(run, self.memory + 1, len(symbols))
        seen = self.vectors(read.flatten(0, 1)) @ self.P
        return super().forward(symbols, sparse=sparse) + seen.view(*symbols.shape, -1)


ENCODERS: dict[str, type[OneHot]] = {"one-hot": OneHot, "n-gram": NGrams, "bert": Bert}
