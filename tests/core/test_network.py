"""Network: what can exist, what is refused and how the refusal reads, and that nothing changes afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import assert_same_network, random_network

from sdsnn_core.errors import NetworkError
from sdsnn_core.network import Convolution, Input, Network, Output, Population, RefractoryLif, Synapses


def small(**changes: Any) -> Network:
    parts: dict[str, Any] = {
        "nodes": {"input": Input((3,)), "a": Population((2,), 1024, 128, 80), "output": Output("a")},
        "projections": {"w": Synapses("input", "a", [0, 1, 2], [0, 1, 0], [2, -4, 6])},
    }
    for key, value in changes.items():
        parts[key] = {**parts.get(key, {}), **value} if isinstance(value, dict) else value
    return Network(**parts)


def test_arrays_cannot_be_written_to() -> None:
    net = small()
    with pytest.raises(ValueError, match="read-only"):
        net.projections["w"].weight[0] = 8
    with pytest.raises(TypeError):
        net.nodes["b"] = Input((1,))  # type: ignore[index]


def test_caller_keeps_a_writable_array_of_its_own() -> None:
    weight = np.array([2, 4], np.int16)
    synapses = Synapses("input", "a", [0, 1], [0, 0], weight)
    weight[0] = 99
    assert synapses.weight[0] == 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Input((2, 3)), r"Input shape: expected \(N,\) or \(C, H, W\).*got \(2, 3\)"),
        (lambda: Input((0,)), "sizes of at least 1"),
        (lambda: Input((2,), 0), r"max_value: expected 1..2147483647, got 0"),
        (lambda: Population((2,), 4097, 0, 1), r"current_decay: expected 0..4096, got 4097..4097"),
        (lambda: Population((2,), 0, -1, 1), r"voltage_decay: expected 0..4096, got -1..-1"),
        (lambda: Population((2,), 0, 0, 131073), r"threshold: expected 0..131072, got 131073..131073"),
        (lambda: Population((2,), 0, 0, 1, bias=5000), r"bias: expected -4095..4095, got 5000..5000"),
        (lambda: Population((2,), 0.5, 0, 1), "expected integers, got values of dtype float64"),
        (
            lambda: Population((2, 3, 3), 0, 0, np.ones(2)),
            r"threshold: expected one value or the axes of \(2, 3, 3\)",
        ),
        (lambda: RefractoryLif((2,), 0, 0, 9, [1, 63]), "refractory: expected 1..62, got 1..63"),
        (lambda: RefractoryLif((2,), 0, 0, 9, 0), "refractory: expected 1..62, got 0..0"),
        (
            lambda: Synapses("a", "b", [0], [0], [0]),
            "weight: expected none of 0, since only present synapses are stored, got 1",
        ),
        (lambda: Synapses("a", "b", [0], [0], [300]), r"weight: expected -256..255, got 300..300"),
        (lambda: Synapses("a", "b", [1, 0], [0, 0], [2, 2]), r"in order of \(pre, post\), each pair once"),
        (lambda: Synapses("a", "b", [0, 0], [0, 0], [2, 2]), r"in order of \(pre, post\), each pair once"),
        (lambda: Synapses("a", "b", [0], [0], [2], 63), r"delay: expected 0..62, got 63..63"),
        (lambda: Synapses("a", "b", [0, 1], [0], [2]), "expected vectors of one length"),
        (lambda: Convolution("a", "b", np.ones((2, 2, 3))), r"expected \(C_out, C_in/groups, kh, kw\)"),
        (
            lambda: Convolution("a", "b", np.ones((3, 1, 3, 3)), groups=2),
            "expected a divisor of 3 output channels, got 2",
        ),
        (
            lambda: Convolution("a", "b", np.ones((2, 1, 3, 3)), stride=(0, 1)),
            "stride: expected two integers of at least 1",
        ),
        (lambda: small(nodes={"output": Output("input")}), "output 'output' source: expected a population"),
        (lambda: small(nodes={"9a": Input((2,))}), "name: expected letters, .* got '9a'"),
        (
            lambda: small(projections={"w": Synapses("input", "a", [3], [0], [2])}),
            r"projection 'w': pre index into 'input': expected 0..2, got 3..3",
        ),
        (
            lambda: small(projections={"w": Synapses("a", "input", [0], [0], [2])}),
            "projection 'w': target: expected a population, got 'input'",
        ),
        (
            lambda: small(projections={"c": Convolution("input", "a", np.ones((2, 3, 1, 1)))}),
            r"projection 'c': source: expected 3 channels of rows and columns, got shape",
        ),
        (lambda: small(dt_s=0.0), "dt_s: expected a positive number of seconds, got 0.0"),
    ],
)
def test_refusals_say_where_what_and_what_is_allowed(build: Any, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        build()


@given(st.integers(1, 6), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_dense_round_trip(n_post: int, n_pre: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-256, 256, (n_post, n_pre)) * (rng.random((n_post, n_pre)) < 0.5)
    delay = rng.integers(0, 63, (n_post, n_pre))
    synapses = Synapses.from_dense("a", "b", matrix, delay)
    np.testing.assert_array_equal(synapses.to_dense(n_post, n_pre), matrix)
    np.testing.assert_array_equal(synapses.delay, delay[synapses.post, synapses.pre])


@pytest.mark.parametrize("seed", range(60))
def test_expanded_convolution_gives_torch_sums(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = random_network(rng, max_layers=3)
    for p in net.projections.values():
        if not isinstance(p, Convolution):
            continue
        source, target = net.nodes[p.source], net.nodes[p.target]
        x = rng.integers(0, 2, source.shape)
        sums = np.zeros(target.size, np.int64)
        synapses = p.synapses(source.shape)
        np.add.at(sums, synapses.post, synapses.weight.astype(np.int64) * x.reshape(-1)[synapses.pre])
        expected = torch.nn.functional.conv2d(
            torch.from_numpy(x)[None].double(),
            torch.from_numpy(np.array(p.kernel)).double(),
            None, p.stride, p.padding, p.dilation, p.groups,
        )  # fmt: skip
        np.testing.assert_array_equal(sums, expected.numpy().reshape(-1))


def test_digest_follows_what_decides_spikes_and_nothing_else() -> None:
    net = small()
    assert net.digest() == small(dt_s=0.5).digest() == small(provenance={"run": "x"}).digest()
    others = [
        small(projections={"w": Synapses("input", "a", [0, 1, 2], [0, 1, 0], [2, -4, 8])}),
        small(projections={"w": Synapses("input", "a", [0, 1, 2], [0, 1, 0], [2, -4, 6], 1)}),
        small(nodes={"a": Population((2,), 1024, 128, 81)}),
        small(nodes={"a": Population((2,), 1024, 128, 80, 1)}),
        small(nodes={"input": Input((3,), 2)}),
    ]
    digests = {net.digest(), *(other.digest() for other in others)}
    assert len(digests) == 1 + len(others)


def test_comparison_names_the_difference() -> None:
    with pytest.raises(AssertionError, match=r"a\.threshold"):
        assert_same_network(small(), small(nodes={"a": Population((2,), 1024, 128, 81)}))
