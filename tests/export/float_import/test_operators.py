"""Operators compose exactly: two convolutions are one where that is possible, and torch agrees in every case."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import conv2d

from sdsnn.export.float_import.operators import Convolved, Identity, Matrix, added, composed, matrix_of, scaled
from sdsnn_core.errors import NetworkError
from sdsnn_core.geometry import Window

Rng = np.random.Generator


def convolution(rng: Rng, shape: tuple[int, int, int]) -> Convolved | None:
    groups = int(rng.choice([g for g in (1, 2, 4) if shape[0] % g == 0]))
    kernel = rng.normal(size=(groups * int(rng.integers(1, 3)), shape[0] // groups, *rng.integers(1, 4, 2)))
    stride, padding, dilation = (tuple(int(n) for n in rng.integers(*span, 2)) for span in ((1, 3), (0, 3), (1, 3)))
    made = Convolved(shape, kernel, Window(stride, padding, dilation, groups))  # type: ignore[arg-type]
    try:
        return made if made.out_shape else None
    except NetworkError:
        return None


def by_torch(conv: Convolved, x: torch.Tensor) -> torch.Tensor:
    return conv2d(x, torch.from_numpy(conv.kernel), None, *conv.window)


def test_two_convolutions_are_what_torch_computes_one_after_the_other(rng: Rng) -> None:
    folded = plain = 0
    while folded + plain < 150:
        shape = (int(rng.choice([1, 2, 4])), *map(int, rng.integers(4, 12, 2)))
        first = convolution(rng, shape)  # type: ignore[arg-type]
        then = None if first is None else convolution(rng, first.out_shape)  # type: ignore[arg-type]
        if first is None or then is None:
            continue
        x = rng.normal(size=(3, *shape))
        wanted = by_torch(then, by_torch(first, torch.from_numpy(x))).numpy().reshape(3, -1)
        both = composed(first, then, "test")
        folded, plain = folded + isinstance(both, Convolved), plain + isinstance(both, Matrix)
        flat = x.reshape(3, -1)
        for got in (then.apply(first.apply(flat)), both.apply(flat), (matrix_of(both, "test") @ flat.T).T):
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)
    assert folded > 40
    assert plain > 20


def test_a_pool_in_front_of_a_convolution_is_a_larger_convolution() -> None:
    """2 x 2 and 3 x 3: a kernel of 6 x 6 with stride 2, no single weights."""
    pool = Convolved((4, 8, 8), np.ones((4, 1, 2, 2)), Window((2, 2), groups=4))
    then = Convolved((4, 4, 4), np.ones((6, 4, 3, 3)), Window(padding=(1, 1)))
    both = composed(pool, then, "test")
    assert isinstance(both, Convolved)
    assert (both.kernel.shape, both.window.stride, both.window.padding) == ((6, 4, 6, 6), (2, 2), (2, 2))


def test_scales_and_sums_keep_the_form_of_a_convolution(rng: Rng) -> None:
    conv = Convolved((2, 5, 5), rng.normal(size=(3, 2, 3, 3)), Window(padding=(1, 1)))
    per_channel, per_neuron = np.repeat(rng.normal(size=3), 25), rng.normal(size=75)
    x = rng.normal(size=(2, 50))
    one, two = scaled(conv, per_channel, "test"), scaled(conv, per_neuron, "test")
    assert isinstance(one, Convolved)
    assert isinstance(two, Matrix)
    np.testing.assert_allclose(one.apply(x), conv.apply(x) * per_channel)
    np.testing.assert_allclose(two.apply(x), conv.apply(x) * per_neuron)
    assert isinstance(added(conv, conv, "test"), Convolved)
    np.testing.assert_allclose(added(conv, two, "test").apply(x), conv.apply(x) * (1 + per_neuron))
    identity = Identity((2, 5, 5))
    assert composed(identity, conv, "test") is conv
    assert composed(conv, Identity((3, 5, 5)), "test") is conv
