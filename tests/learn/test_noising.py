"""Noise in the training text: how often, by what, and where."""

import numpy as np
import pytest
import torch

from elman.config import build, parse_pairs
from elman.errors import UsageError
from elman.learn.noising import Noise

TEXT = np.array([0, 1, 0, 2, 0, 3, 3, 3, 3, 4])


def test_a_symbol_is_replaced_as_often_as_what_followed_it_was_new() -> None:
    noise = Noise(TEXT, 6, 0.5, unknown=None)
    # 0 comes three times, before 1, 2, 3; 3 four times, before itself and 4; 1 and 2 once; 4 at the end; 5 never.
    assert noise.chances.tolist() == pytest.approx([0.5 * 3 / 3, 0.5, 0.5, 0.5 * 2 / 4, 0.0, 0.0])


def test_what_comes_instead_is_what_came_after_many() -> None:
    noise = Noise(TEXT, 6, 1.0, unknown=None)
    drawn = noise(torch.zeros(40_000, dtype=torch.int64), torch.Generator().manual_seed(1))
    # 0 comes after 1 and 2, 1 and 2 after 0, 3 after 0 and itself, 4 after 3: seven pairs. All zeros are replaced.
    shares = torch.bincount(drawn, minlength=6) / len(drawn)
    assert shares.tolist() == pytest.approx([2 / 7, 1 / 7, 1 / 7, 2 / 7, 1 / 7, 0], abs=0.01)


def test_a_symbol_outside_the_dictionary_counts_as_unknown() -> None:
    inside, outside = (Noise(np.array(ids), 3, 0.5, unknown=2) for ids in ([0, 2, 1, 2], [0, 3, 1, 3]))
    assert torch.equal(inside.chances, outside.chances)


def test_noise_is_a_share() -> None:
    with pytest.raises(UsageError, match="noise"):
        build(parse_pairs(["noise=1.5"]))
    with pytest.raises(UsageError, match="noise must be 0"):
        build(parse_pairs(["regime=online", "noise=0.1"]))
