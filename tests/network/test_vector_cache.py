"""Vectors on disk by key: what comes back, what a second program finds, what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from elman.network import vector_cache
from elman.network.vector_cache import VectorCache

E = 5


def some(count: int, seed: int = 0) -> tuple[list[bytes], np.ndarray]:
    vectors = np.random.default_rng(seed).standard_normal((count, E)).astype(np.float32)
    return [f"{seed} {i}".encode() for i in range(count)], vectors


def test_what_was_added_is_read_in_any_order_before_and_after_it_is_on_disk(tmp_path: Path) -> None:
    cache, (keys, vectors) = VectorCache(tmp_path, E), some(10)
    cache.add(keys[:4], vectors[:4])
    cache.add(keys[4:], vectors[4:])
    order = [7, 0, 7, 3]
    for _ in range(2):
        np.testing.assert_array_equal(cache.read([keys[i] for i in order]), vectors[order])
        assert keys[3] in cache and b"other" not in cache
        cache.save()
    again = VectorCache(tmp_path, E)
    np.testing.assert_array_equal(again.read(keys), vectors)


def test_many_are_written_at_once_and_the_rest_when_nobody_wants_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_cache, "ROWS", 8)
    cache, (keys, vectors) = VectorCache(tmp_path, E), some(11)
    for start in (0, 4, 8):
        cache.add(keys[start : start + 4], vectors[start : start + 4])
    assert len(list(tmp_path.iterdir())) == 1
    np.testing.assert_array_equal(cache.read(keys), vectors)
    del cache
    assert len(list(tmp_path.iterdir())) == 2
    np.testing.assert_array_equal(VectorCache(tmp_path, E).read(keys), vectors)


def test_two_programs_may_add_to_one_folder(tmp_path: Path) -> None:
    one, other = VectorCache(tmp_path, E), VectorCache(tmp_path, E)
    (keys, vectors), (others, more) = some(3), some(4, seed=1)
    one.add(keys, vectors)
    other.add([*others, *keys], np.concatenate([more, vectors]))
    one.save()
    other.save()
    np.testing.assert_array_equal(VectorCache(tmp_path, E).read([*keys, *others]), np.concatenate([vectors, more]))


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "other size"])
def test_a_damaged_file_is_left_out(damage: str, tmp_path: Path) -> None:
    cache, (keys, vectors) = VectorCache(tmp_path, E), some(3)
    cache.add(keys, vectors)
    cache.save()
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    if damage == "bit":
        data[-1] ^= 1
    path.write_bytes({"cut": data[:-1], "empty": b""}.get(damage, data))
    again = VectorCache(tmp_path, E + (damage == "other size"))
    assert keys[0] not in again


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache, (keys, vectors) = VectorCache(tmp_path / "file" / "folder", E), some(3)
    cache.add(keys, vectors)
    cache.save()
    np.testing.assert_array_equal(cache.read(keys), vectors)
