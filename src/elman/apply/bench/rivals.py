"""What a user would write instead: the same network in plain PyTorch, fp32, by autograd, with `torch.optim.SGD`.

`RIVALS` is the table that `elman bench` reads. None of them has biases, since elman's network has none by default.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from elman.network.cells import Elman
from elman.network.model import RecurrentNetwork


class TorchRNN(nn.Module):
    """`nn.Embedding`, `nn.RNN` (tanh), `nn.Linear` and `cross_entropy`, as PyTorch's examples have them.

    `nn.RNN` multiplies what the embedding gives by an H x H matrix of its own, which the equations do not have.
    """

    def __init__(self, dictionary_size: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(dictionary_size, hidden_size)
        self.rnn = nn.RNN(hidden_size, hidden_size, nonlinearity="tanh", bias=False)
        self.linear = nn.Linear(hidden_size, dictionary_size, bias=False)

    @torch.no_grad()
    def take_weights(self, network: RecurrentNetwork) -> None:
        """Start from the weights of one of our networks: U, W, V, and the identity where it has no matrix."""
        U, W, V = plain_weights(network)
        self.embedding.weight.copy_(U)
        weights = self.rnn.state_dict()  # of the very tensors
        weights["weight_ih_l0"].copy_(torch.eye(len(W)))
        weights["weight_hh_l0"].copy_(W.t())
        self.linear.weight.copy_(V.t())

    def initial_state(self, batch: int) -> Tensor:
        """Return s(0), zeros, (B, H)."""
        return torch.zeros(batch, self.rnn.hidden_size, device=self.linear.weight.device)

    def loss(self, state: Tensor, symbols: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after a window of symbols (T, B), and the mean of - log y[target] over it."""
        states, after = self.rnn(self.embedding(symbols), state.unsqueeze(0))
        logits = self.linear(states)
        return after[0].detach(), functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


class TorchLoop(nn.Module):
    """The equations and nothing else, s(t) = tanh( U[w(t)] + s(t-1) W ), step by step in Python."""

    def __init__(self, dictionary_size: int, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(dictionary_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False)
        self.linear = nn.Linear(hidden_size, dictionary_size, bias=False)

    @torch.no_grad()
    def take_weights(self, network: RecurrentNetwork) -> None:
        """Start from the weights of one of our networks."""
        U, W, V = plain_weights(network)
        self.embedding.weight.copy_(U)
        self.recurrent.weight.copy_(W.t())
        self.linear.weight.copy_(V.t())

    def initial_state(self, batch: int) -> Tensor:
        """Return s(0), zeros, (B, H)."""
        return torch.zeros(batch, self.recurrent.in_features, device=self.linear.weight.device)

    def loss(self, state: Tensor, symbols: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state after a window of symbols (T, B), and the mean of - log y[target] over it."""
        states = []
        for drive in self.embedding(symbols).unbind(0):
            state = torch.tanh(drive + self.recurrent(state))
            states.append(state)
        logits = self.linear(torch.stack(states))
        return state.detach(), functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def plain_weights(network: RecurrentNetwork) -> tuple[Tensor, Tensor, Tensor]:
    """Return U (D, H), W (H, H) and V (H, D) of a network of one plain layer."""
    cell = network.cells[0]
    assert isinstance(cell, Elman), "the rivals are Elman networks"
    return network.encoder.U, cell.W, network.output.matrix(network.encoder.U)


RIVALS: dict[str, type[TorchRNN] | type[TorchLoop]] = {"torch nn.RNN": TorchRNN, "torch loop": TorchLoop}
