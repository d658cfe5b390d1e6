"""Float NIR graphs: every linear node is the matrix that torch computes, chains and subgraphs are read as one map."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest
import torch
from torch.nn import functional

from sdsnn.export.float_import.file import FloatFile, checked_node, float_file_of
from sdsnn.export.float_import.graph import read_graph
from sdsnn.export.float_import.nodes import LINEAR, linear_of
from sdsnn.export.float_import.operators import Convolved, matrix_of
from sdsnn.export.float_import.run import float_run
from sdsnn_core.errors import NetworkError, UnsupportedNode

DT = 1e-4
Rng = np.random.Generator


def convolution(rng: Rng, dims: int) -> tuple[Any, Any, tuple[int, ...]]:
    """Return a random Conv1d or Conv2d node, torch's function for it, and the shape of its input."""
    groups = int(rng.choice([1, 1, 2]))
    c_in, c_out = 2 * groups, 3 * groups
    size = rng.integers(6, 11, dims)
    kernel, stride, dilation = rng.integers(1, 4, dims), rng.integers(1, 3, dims), rng.integers(1, 3, dims)
    weight = rng.normal(size=(c_out, c_in // groups, *kernel))
    bias = rng.normal(size=c_out)
    padding: Any = rng.integers(0, 3, dims)
    if rng.random() < 0.3:
        padding = "valid"
    elif rng.random() < 0.3:
        padding, stride, weight = "same", np.ones(dims, int), rng.normal(size=(c_out, c_in // groups, *kernel))
        dilation = np.where(kernel % 2 == 0, 1, dilation)
    text = isinstance(padding, str)
    if dims == 1:
        node = nir.Conv1d(
            int(size[0]), weight, int(stride[0]), padding if text else int(padding[0]), int(dilation[0]), groups, bias
        )
    else:
        node = nir.Conv2d(
            tuple(size), weight, tuple(stride), padding if text else tuple(padding), tuple(dilation), groups, bias
        )
    torch_function = (functional.conv1d, functional.conv2d)[dims - 1]

    def function(x: torch.Tensor) -> torch.Tensor:
        pad = padding if text else tuple(int(p) for p in padding)
        weights, shift = torch.from_numpy(weight), torch.from_numpy(bias)
        steps, gaps = tuple(map(int, stride)), tuple(map(int, dilation))
        return torch_function(x, weights, shift, steps, pad, gaps, groups)

    return node, function, (c_in, *map(int, size))


def pooling(rng: Rng, average: bool) -> tuple[Any, Any, tuple[int, ...]]:
    kernel, stride = rng.integers(1, 4, 2), rng.integers(1, 4, 2)
    padding = np.minimum(rng.integers(0, 2, 2), kernel // 2)
    node = (nir.AvgPool2d if average else nir.SumPool2d)(kernel, stride, padding)

    def function(x: torch.Tensor) -> torch.Tensor:
        pooled = functional.avg_pool2d(x, *(tuple(map(int, part)) for part in (kernel, stride, padding)))
        return pooled if average else pooled * float(kernel.prod())

    return node, function, (3, *map(int, rng.integers(5, 10, 2)))


def drawn(kind: str, rng: Rng) -> tuple[Any, Any, tuple[int, ...]]:
    weight, bias = rng.normal(size=(4, 6)), rng.normal(size=4)
    matrix = torch.from_numpy(weight)
    if kind == "Linear":
        return nir.Linear(weight), lambda x: x @ matrix.T, (6,)
    if kind == "Affine":
        return nir.Affine(weight, bias), lambda x: x @ matrix.T + torch.from_numpy(bias), (6,)
    if kind == "Scale":
        factor = rng.normal(size=(2, 3, 4))
        return nir.Scale(factor), lambda x: x * torch.from_numpy(factor), (2, 3, 4)
    if kind == "Flatten":
        return nir.Flatten({"input": np.array([2, 3, 4])}, 0, -1), lambda x: x.flatten(1), (2, 3, 4)
    if kind in ("Conv1d", "Conv2d"):
        return convolution(rng, int(kind[4]))
    return pooling(rng, kind == "AvgPool2d")


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kind", [kind for kind in LINEAR if kind not in ("Delay", "Port")])
def test_a_linear_node_is_the_matrix_that_torch_computes(kind: str, rng: Rng) -> None:
    for _ in range(1 if kind in ("Flatten",) else 25):
        node, function, shape = drawn(kind, rng)
        inner = (shape[0], 1, shape[1]) if kind == "Conv1d" else shape
        read = float_file_of(graph({"n": node}, [])).nodes["n"]
        operator, bias, after = linear_of(read, inner, "node")
        x = torch.from_numpy(rng.normal(size=(3, *shape)))
        wanted = function(x).numpy()
        assert int(np.prod(after)) == int(np.prod(wanted.shape[1:]))
        flat = x.numpy().reshape(3, -1)
        for got in (operator.apply(flat), (matrix_of(operator, "node") @ flat.T).T):
            np.testing.assert_allclose(got + bias, wanted.reshape(3, -1), rtol=1e-9, atol=1e-9)
        assert isinstance(operator, Convolved) == (kind in ("Conv1d", "Conv2d", "SumPool2d", "AvgPool2d"))


def lif(n: int, threshold: float = 1.0) -> nir.LIF:
    one = np.ones(n)
    return nir.LIF(tau=10 * DT * one, r=10 * one, v_leak=0 * one, v_threshold=threshold * one, v_reset=0 * one)


def graph(nodes: dict[str, Any], edges: list[tuple[str, str]], n_in: int = 4, n_out: int = 3) -> nir.NIRGraph:
    ports = {"in": nir.Input(np.array([n_in])), "out": nir.Output(np.array([n_out]))}
    return nir.NIRGraph({**ports, **nodes}, edges, type_check=False)


def test_a_chain_of_linear_nodes_is_one_map(rng: Rng) -> None:
    """Affine, scale, delay and affine between neurons: matrices multiplied, biases carried, delays added."""
    first, second = rng.normal(size=(5, 4)), rng.normal(size=(3, 5))
    shift, factor = rng.normal(size=5), rng.normal(size=5)
    nodes = {
        "late": nir.Delay(np.full(4, 3 * DT)), "a": nir.Affine(first, shift), "s": nir.Scale(factor),
        "b": nir.Linear(second), "n": lif(3),
    }  # fmt: skip
    edges = [("in", "late"), ("late", "a"), ("a", "s"), ("s", "b"), ("b", "n"), ("n", "out")]
    found = read_graph(graph(nodes, edges), DT)
    ((name, mapped),) = found.maps.items()
    assert name == "b"
    np.testing.assert_allclose(matrix_of(mapped.operator, "b").toarray(), second @ np.diag(factor) @ first)
    np.testing.assert_allclose(found.biases["n"], second @ (factor * shift))
    np.testing.assert_allclose(mapped.delay, 3 * DT)


def test_a_subgraph_is_what_stands_in_it(rng: Rng) -> None:
    """A loop in a subgraph, as snnTorch writes it, and the same nodes flat."""
    weight, loop = rng.normal(size=(3, 4)), rng.normal(size=(3, 3)) * 0.3
    inner = graph(
        {"lif": lif(3), "w_rec": nir.Linear(loop)},
        [("in", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "out")],
        n_in=3,
    )
    nested = graph({"w": nir.Linear(weight), "rec": inner}, [("in", "w"), ("w", "rec"), ("rec", "out")])
    flat = graph(
        {"w": nir.Linear(weight), "rec.lif": lif(3), "rec.w_rec": nir.Linear(loop)},
        [("in", "w"), ("w", "rec.lif"), ("rec.lif", "rec.w_rec"), ("rec.w_rec", "rec.lif"), ("rec.lif", "out")],
    )
    a, b = read_graph(nested, DT), read_graph(flat, DT)
    assert set(a.neurons) == set(b.neurons) == {"rec.lif"}
    assert set(a.maps) == set(b.maps) == {"w", "rec.w_rec"}
    x = {"in": (rng.random((2, 40, 4)) < 0.4).astype(np.uint8)}
    one, two = float_run(a, x)[0]["rec.lif"], float_run(b, x)[0]["rec.lif"]
    np.testing.assert_array_equal(one, two)
    assert one.sum() > 5


@pytest.mark.parametrize(
    ("shape", "node", "wanted"),
    [
        ([7, 20, 4], nir.Linear(np.ones((3, 4))), (4,)),
        ([3, 4], nir.Linear(np.ones((3, 4))), (4,)),
        ([4], nir.Linear(np.ones((3, 4))), (4,)),
        ([7, 2, 5, 5], nir.Conv2d((5, 5), np.ones((3, 2, 5, 5)), 1, 0, 1, 1, np.zeros(3)), (2, 5, 5)),
        ([2, 5, 5], nir.Conv2d((5, 5), np.ones((3, 2, 5, 5)), 1, 0, 1, 1, np.zeros(3)), (2, 5, 5)),
    ],
)
def test_axes_of_samples_and_steps_are_taken_off_an_input(shape: list[int], node: Any, wanted: tuple[int, ...]) -> None:
    nodes = {"in": nir.Input(np.array(shape)), "w": node, "n": lif(3), "out": nir.Output(np.array([3]))}
    made = nir.NIRGraph(nodes, [("in", "w"), ("w", "n"), ("n", "out")], type_check=False)
    assert read_graph(made, DT).inputs == {"in": wanted}


def test_what_has_no_rule_is_named_with_what_is_allowed() -> None:
    chain = [("in", "w"), ("w", "n"), ("n", "out")]
    weight = nir.Linear(np.ones((3, 4)))
    cuba = nir.CubaLIF(*(np.full(3, 5.0) for _ in range(3)), np.zeros(3), np.ones(3), np.ones(3))
    loop = [("in", "w"), ("w", "v"), ("v", "w"), ("w", "n"), ("n", "out")]
    short = nir.LIF(*(np.full(3, value) for value in (DT / 2, 0.5, 0.0, 1.0, 0.0)))
    below = nir.LIF(*(np.full(3, value) for value in (10 * DT, 10.0, 0.0, 1.0, 2.0)))
    for nodes, edges, writer, kind, words in (
        ({"w": weight, "n": lif(3), "li": nir.LI(*(np.full(3, v) for v in (10 * DT, 10.0, 0.0)))},
         [("in", "w"), ("w", "li"), ("li", "n"), ("n", "out")], None, UnsupportedNode, "'li': a LI sends its"),
        ({"w": nir.Linear(np.ones((3, 5))), "n": lif(3)}, chain, None, NetworkError, r"shape \(N, 4\), got \(3, 5\)"),
        ({"w": weight, "n": lif(2)}, chain, None, NetworkError, r"'n': expected \(3,\) neurons for what"),
        ({"w": weight, "n": cuba}, chain, "sinabs", UnsupportedNode, "expected LIF, IF or LI of sinabs"),
        ({"w": weight, "n": short}, chain, "nir", NetworkError, "expected at least one step"),
        ({"w": weight, "n": below}, chain, None, NetworkError, "values below it"),
        ({"w": weight, "n": lif(3)}, [*chain, ("n", "x")], None, NetworkError, "two nodes of the graph, got 'x'"),
        ({"w": nir.Linear(np.ones((4, 4))), "v": nir.Linear(np.ones((4, 4))), "n": lif(4)}, loop, None,
         UnsupportedNode, "a loop without neurons"),
    ):  # fmt: skip
        with pytest.raises(kind, match=words):
            read_graph(graph(nodes, edges), DT, writer)
    with pytest.raises(UnsupportedNode, match="got a MaxPool2d"):
        read_graph(FloatFile({"in": checked_node("Input", {"shape": np.array([4])}, "in"),
                              "pool": checked_node("MaxPool2d", {}, "pool")}, (("in", "pool"),)), DT)  # fmt: skip
