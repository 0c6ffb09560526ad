"""Loops over memory in one pass each: compiled where the installation had a C compiler, else PyTorch's operations.

Every function is there twice: `softmax_error`, which takes the compiled loop (`_kernels.c`) where it can, and its twin
`softmax_error_slowly`, which says in PyTorch what it computes. `ELMAN_KERNELS=off` in the environment leaves the
compiled ones out.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import torch
from torch import Tensor

COMPILED_TYPES = (torch.float32, torch.bfloat16)


def _load() -> Any:  # noqa: ANN401 - a module that may not be there has no type
    if os.environ.get("ELMAN_KERNELS") == "off":
        return None
    try:
        return importlib.import_module("elman.network._kernels")
    except ImportError:
        return None


compiled: Any = _load()


def available() -> bool:
    """Return whether the compiled loops are there."""
    return compiled is not None


def fits(*tensors: Tensor | None) -> bool:
    """Return whether the compiled loops can take these tensors: on the CPU, f32 or bf16, rows in one piece."""
    return compiled is not None and all(
        t is None or (t.device.type == "cpu" and t.dtype in COMPILED_TYPES and t.stride(-1) == 1) for t in tensors
    )


def address(tensor: Tensor | None) -> int:
    """Return where a tensor lies in memory; 0 for none."""
    return 0 if tensor is None else tensor.data_ptr()


def softmax_error(
    logits: Tensor,
    targets: Tensor,
    *,
    offset: Tensor | None = None,
    with_target: bool = True,
    weights: Tensor | None = None,
    want_error: bool = True,
) -> Tensor:
    """Return the log-probability of each row's target, and turn the logits into weighted errors where they stand.

    With a(j) the logits of a row, o(j) the offset of column j and d its target:

        y = softmax( a + o ),   returned: log y(d),   in place of a: weight * ( y - one-hot(d) )

    Parameters
    ----------
    logits
        (N, D); rounded to its own type, sums in float32.
    targets
        (N,), int64.
    offset
        (D,), float32, added to the logits of every row; not to that of the row's own target unless `with_target`.
    weights
        (N,), float32; one where left out.
    want_error
        whether the logits become errors; otherwise they are left as they are.

    Returns
    -------
    Tensor
        (N,), float32 (or float64, where the logits are).
    """
    if not (fits(logits, offset, weights) and logits.dim() == 2 and targets.is_contiguous()):
        return softmax_error_slowly(
            logits, targets, offset=offset, with_target=with_target, weights=weights, want_error=want_error
        )
    rows, columns = logits.shape
    log_probs = torch.empty(rows)
    compiled.softmax_error(
        logits.data_ptr(),
        logits.dtype is torch.bfloat16,
        rows,
        columns,
        logits.stride(0),
        targets.data_ptr(),
        address(offset),
        with_target,
        address(weights),
        log_probs.data_ptr(),
        want_error,
        torch.get_num_threads(),
    )
    return log_probs


def softmax_error_slowly(
    logits: Tensor,
    targets: Tensor,
    *,
    offset: Tensor | None = None,
    with_target: bool = True,
    weights: Tensor | None = None,
    want_error: bool = True,
) -> Tensor:
    """Do what `softmax_error` does, one operation after the other."""
    exact = logits if logits.dtype is torch.float64 else logits.float()
    target = targets.unsqueeze(1)
    if offset is not None:
        own = exact.gather(1, target)
        exact = exact + offset
        if not with_target:
            exact.scatter_(1, target, own)
    log_y = torch.log_softmax(exact, dim=1)
    if want_error:
        error = log_y.exp()
        error.scatter_add_(1, target, error.new_full((), -1.0).expand(target.shape))
        if weights is not None:
            error *= weights.unsqueeze(1)
        logits.copy_(error)
    return log_y.gather(1, target).squeeze(1)


def integer_log_probs(
    products: Tensor, targets: Tensor, steps: Tensor, scales: Tensor, offset: Tensor | None = None
) -> Tensor:
    """Return the log-probability of each row's target, (N,), for logits whose products were made in integers.

        a(n, j) = products(n, j) steps(n) scales(j) + offset(j),   returned: log softmax( a(n) )(target)

    Parameters
    ----------
    products
        (N, D), int32.
    targets
        (N,), int64.
    steps, scales
        (N,) and (D,), float32: what 1 is worth in a row's state, and in a column of V.
    offset
        (D,), float32, added to the logits of every row.
    """
    tensors = (products, targets, steps, scales, *(() if offset is None else (offset,)))
    plain = all(t.device.type == "cpu" and t.is_contiguous() for t in tensors)
    if compiled is None or not plain or steps.dtype is not torch.float32 or not hasattr(compiled, "integer_log_probs"):
        return integer_log_probs_slowly(products, targets, steps, scales, offset)
    log_probs = torch.empty(len(products))
    compiled.integer_log_probs(
        *(address(t) for t in (products, targets, steps, scales, offset, log_probs)),
        *products.shape,
        torch.get_num_threads(),
    )
    return log_probs


def integer_log_probs_slowly(
    products: Tensor, targets: Tensor, steps: Tensor, scales: Tensor, offset: Tensor | None = None
) -> Tensor:
    """Do what `integer_log_probs` does, one operation after the other."""
    logits = products.to(steps.dtype) * steps.unsqueeze(1) * scales
    log_y = torch.log_softmax(logits if offset is None else logits + offset, dim=1)
    return log_y.gather(1, targets.unsqueeze(1)).squeeze(1)


def shift(weight: Tensor, change: Tensor, *, keep: float = 1.0, rate: float = 1.0, copy: Tensor | None = None) -> None:
    """Move a weight: weight <- keep * weight + rate * change; and write its new value to `copy`, rounded to bf16.

    `weight` is float32 (or float64, without the compiled loop), `change` of the same shape and of any float type.
    """
    same = weight.is_contiguous() and change.is_contiguous() and (copy is None or copy.is_contiguous())
    if not (fits(weight, change, copy) and same and weight.dtype is torch.float32):
        shift_slowly(weight, change, keep=keep, rate=rate, copy=copy)
        return
    compiled.shift(
        weight.data_ptr(),
        change.data_ptr(),
        change.dtype is torch.bfloat16,
        address(copy),
        weight.numel(),
        keep,
        rate,
        torch.get_num_threads(),
    )


def shift_slowly(
    weight: Tensor, change: Tensor, *, keep: float = 1.0, rate: float = 1.0, copy: Tensor | None = None
) -> None:
    """Do what `shift` does, one operation after the other."""
    if keep != 1.0:
        weight.mul_(keep)
    weight.add_(change, alpha=rate)
    if copy is not None:
        copy.copy_(weight)


def move_rows(weight: Tensor, change: Tensor, rows: Tensor, *, keep: Tensor | None = None, rate: float = 1.0) -> None:
    """Move some rows of a weight: weight[rows[i]] <- keep[i] * weight[rows[i]] + rate * change[i].

    `weight` is (N, M), `change` (K, M), `rows`, (K,), int64, names each row once at most, `keep` is (K,).
    """
    tensors = [t for t in (weight, change, keep) if t is not None]
    plain = all(t.is_contiguous() and t.dtype is torch.float32 for t in tensors)
    if not (fits(*tensors) and plain and rows.is_contiguous()):
        move_rows_slowly(weight, change, rows, keep=keep, rate=rate)
        return
    compiled.move_rows(
        *(t.data_ptr() for t in (weight, change, rows)),
        address(keep),
        len(rows),
        weight.shape[1],
        rate,
        torch.get_num_threads(),
    )


def move_rows_slowly(
    weight: Tensor, change: Tensor, rows: Tensor, *, keep: Tensor | None = None, rate: float = 1.0
) -> None:
    """Do what `move_rows` does, one operation after the other."""
    if keep is not None:
        weight[rows] = weight[rows] * keep.unsqueeze(1)
    weight.index_add_(0, rows, change, alpha=rate)


def adam_rows(
    weight: Tensor,
    first: Tensor,
    second: Tensor,
    gradient: Tensor,
    rows: Tensor | None,
    *,
    step: int,
    alpha: float,
    betas: tuple[float, float],
    epsilon: float,
    keep: float,
) -> None:
    """Make one step of Adam for some rows of a weight, in place; the equations are those of `learn.optimizers.Adam`.

    Parameters
    ----------
    weight, first, second
        (N, M): the weight, and its first and second moment.
    gradient
        (K, M), of the rows that `rows` names.
    rows
        (K,), int64, each row once at most; None for all of them, in order.
    step
        n, the number of this update, from 1.
    keep
        what is left of a row before it is moved, 1 - beta.
    """
    tensors = (weight, first, second, gradient)
    plain = all(t.is_contiguous() and t.dtype is torch.float32 for t in tensors)
    if not (fits(*tensors) and plain and (rows is None or rows.is_contiguous())):
        adam_rows_slowly(
            weight, first, second, gradient, rows, step=step, alpha=alpha, betas=betas, epsilon=epsilon, keep=keep
        )
        return
    compiled.adam_rows(
        *(t.data_ptr() for t in (weight, first, second, gradient)),
        address(rows),
        len(gradient),
        weight.shape[1],
        alpha / (1 - betas[0] ** step),
        *betas,
        epsilon,
        keep,
        1 / (1 - betas[1] ** step),
        torch.get_num_threads(),
    )


def adam_rows_slowly(
    weight: Tensor,
    first: Tensor,
    second: Tensor,
    gradient: Tensor,
    rows: Tensor | None,
    *,
    step: int,
    alpha: float,
    betas: tuple[float, float],
    epsilon: float,
    keep: float,
) -> None:
    """Do what `adam_rows` does, one operation after the other."""
    here = slice(None) if rows is None else rows
    first[here] = betas[0] * first[here] + (1 - betas[0]) * gradient
    second[here] = betas[1] * second[here] + (1 - betas[1]) * gradient**2
    change = first[here] / (1 - betas[0] ** step)
    size = (second[here] / (1 - betas[1] ** step)).sqrt() + epsilon
    weight[here] = keep * weight[here] - alpha * change / size


LEAST_LIMIT = 1024  # a state in fewer steps than that is rounded as much as V is


def stored_log_probs(
    states: Tensor, rows: Tensor, scales: Tensor | None, offset: Tensor | None, *, threads: int = 1
) -> Tensor:
    """Return log y = log softmax( s V + c ), (B, D), for a few states and a V that is stored symbol by symbol.

    Parameters
    ----------
    states
        (B, H), float32. With int8 rows a state is read as integers of 16 bits, or of fewer where a sum of H products
        would not fit in 32 otherwise (H > 516).
    rows
        V^T, (D, H): bf16, or int8 with `scales`.
    scales
        (D,), float32: what an int8 row is to be multiplied by.
    offset
        c, (D,), float32.
    """
    tensors = (states, rows, *(t for t in (scales, offset) if t is not None))
    batch, width = states.shape
    limit = min(32767, (2**31 - 1) // (127 * width))
    plain = all(t.device.type == "cpu" and t.is_contiguous() for t in tensors) and states.dtype is torch.float32
    if compiled is None or not plain or (scales is not None and limit < LEAST_LIMIT):
        return stored_log_probs_slowly(states, rows, scales, offset)
    log_probs = torch.empty(batch, len(rows))
    integers, steps = torch.empty(batch, width, dtype=torch.int16), torch.empty(batch)
    compiled.stored_log_probs(
        *(address(t) for t in (states, rows, scales, integers, steps, offset, log_probs)),
        batch,
        len(rows),
        width,
        limit,
        threads,
    )
    return log_probs


def stored_log_probs_slowly(
    states: Tensor, rows: Tensor, scales: Tensor | None, offset: Tensor | None, *, threads: int = 1
) -> Tensor:
    """Do what `stored_log_probs` does, with V as floats again, and no state rounded."""
    V = rows.to(states.dtype)
    logits = states @ (V if scales is None else V * scales.unsqueeze(1)).t()
    return torch.log_softmax(logits if offset is None else logits + offset, dim=-1)
