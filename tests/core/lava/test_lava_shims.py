"""Every shim of Lava's import: what it repairs, that it rests where nothing is broken, that nothing else changes."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import subprocess
import sys
import textwrap
import types
import warnings
from typing import Any

import numpy as np
import pytest

from sdsnn_core.lava import shims as lava_shims
from sdsnn_core.lava.child import run_in_child
from sdsnn_core.lava.compat import ensure_lava, import_lava, import_netx, import_slayer, lava_available
from sdsnn_core.lava.shims import SHIMS, Shim

needs_lava = pytest.mark.skipif(not lava_available(), reason="Lava is not installed")
BY_NAME = {shim.name: shim for shim in SHIMS}


def fresh(program: str) -> str:
    """Run `program` in a fresh interpreter in which every warning is an error; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_lava
@pytest.mark.parametrize("shim", SHIMS, ids=lambda shim: shim.name)
def test_a_shim_names_lines_that_exist(shim: Shim) -> None:
    """The line it answers is there, in that version of the distribution."""
    import importlib.metadata

    distribution, _, place = shim.upstream.partition(": ")
    name, version = distribution.split()
    assert importlib.metadata.version(name) == version
    path, _, lines = place.partition(":")
    files = [file for file in importlib.metadata.files(name) or [] if str(file) == path]
    assert len(files) == 1
    text = files[0].read_text().splitlines()
    first = int(lines.replace("-", ",").split(",")[0])
    expected = {
        "hashable ByteEncoder": "@dataclass",
        "no object detection": "object_detection",
        "scalar input weight": "int(layer_config['weight'])",
        "reshape port": "newshape=self.shape",
        "wide convolution": "np.int8",
        "GPU architecture": "torch.cuda.is_available()",
    }[shim.name]
    assert expected in text[first - 1]


@needs_lava
@pytest.mark.parametrize("shim", SHIMS, ids=lambda shim: shim.name)
def test_a_shim_is_needed_only_until_it_is_applied(shim: Shim) -> None:
    import_slayer()
    import_netx()
    assert not shim.needed()


@needs_lava
def test_calling_again_changes_nothing() -> None:
    import_netx()
    before = dict(vars(importlib.import_module("lava.magma.core.process.ports.ports").ReshapePort))
    made = importlib.import_module("lava.lib.dl.netx.hdf5").Network.create_input
    ensure_lava()
    import_slayer()
    import_netx()
    assert dict(vars(importlib.import_module("lava.magma.core.process.ports.ports").ReshapePort)) == before
    assert importlib.import_module("lava.lib.dl.netx.hdf5").Network.create_input is made


# Shim 1


@needs_lava
def test_the_encoder_is_hashable_and_dataclass_is_the_original() -> None:
    said = fresh("""
        import dataclasses, sys
        original = dataclasses.dataclass
        from sdsnn_core.lava.compat import ensure_lava
        ensure_lava()
        import lava.magma.compiler.var_model as var_model
        assert dataclasses.dataclass is original
        if sys.version_info >= (3, 11):
            assert hash(var_model.ByteEncoder()) == hash(var_model.ByteEncoder())
        assert var_model.ChipEncoder().x == var_model.ByteEncoder(0, 0, 0)
        wrong = [name for name, module in sys.modules.items() if getattr(module, "dataclass", original) is not original]
        assert wrong == [], wrong
        assert var_model.LoihiAddress.__hash__ is None, "another class became hashable"
        print("done")
    """)
    assert said == "done"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 takes any default, so the shim rests")
def test_only_the_encoder_is_given_a_hash(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that upstream breaks on, in miniature, both call forms of the decorator in it."""
    package = tmp_path / "small_var_model.py"
    package.write_text(
        "from dataclasses import dataclass\n"
        "import late_import_of_test\n"
        "@dataclass\nclass Other:\n    a: int = 0\n"
        "@dataclass(order=True)\nclass Ordered:\n    a: int = 0\n"
        "@dataclass\nclass ByteEncoder:\n    base: int = 0\n"
        "@dataclass()\nclass Core:\n    x: ByteEncoder = ByteEncoder()\n"
    )
    (tmp_path / "late_import_of_test.py").write_text("from dataclasses import dataclass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lava_shims, "_VAR_MODEL", "small_var_model")
    original = dataclasses.dataclass
    shim = BY_NAME["hashable ByteEncoder"]
    assert shim.needed()
    try:
        shim.apply()
        module, late = sys.modules["small_var_model"], sys.modules["late_import_of_test"]
        assert not shim.needed()
        assert dataclasses.dataclass is original
        assert module.dataclass is original
        assert late.dataclass is original, "what the module imports must not keep the wrapper"
        assert hash(module.ByteEncoder(3)) == hash(module.ByteEncoder(3))
        assert module.Other.__hash__ is None
        assert module.Ordered(1) < module.Ordered(2)
    finally:
        sys.modules.pop("small_var_model", None)
        sys.modules.pop("late_import_of_test", None)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 takes any default, so the shim rests")
def test_dataclass_is_restored_when_the_import_fails(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_var_model.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass\nclass ByteEncoder:\n    base: int = 0\n"
        "@dataclass\nclass Core:\n    x: ByteEncoder = ByteEncoder()\n"
        "raise RuntimeError('later')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(lava_shims, "_VAR_MODEL", "broken_var_model")
    original = dataclasses.dataclass
    with pytest.raises(RuntimeError, match="later"):
        BY_NAME["hashable ByteEncoder"].apply()
    assert dataclasses.dataclass is original


# Shim 2


@needs_lava
def test_slayer_needs_no_opencv_and_no_torchvision() -> None:
    said = fresh("""
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name in ("cv2", "torchvision"):
                    raise ModuleNotFoundError(name)

        import importlib.util
        find_spec = importlib.util.find_spec
        absent = ("cv2", "torchvision")
        importlib.util.find_spec = lambda name, *rest: None if name in absent else find_spec(name, *rest)
        sys.meta_path.insert(0, Absent())
        from sdsnn_core.lava.compat import SHIMS, import_slayer
        import warnings
        shim = next(shim for shim in SHIMS if shim.name == "no object detection")
        assert shim.needed()
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # torch's own warnings are not ours to judge
            slayer = import_slayer()
        assert not shim.needed()
        assert "opencv" in slayer.obd.__doc__
        assert not {"cv2", "torchvision"} & set(sys.modules)
        assert not any(name.startswith("lava.magma") for name in sys.modules), "SLAYER does not need lava-nc"
        print(slayer.block.cuba.Dense.__name__)
    """)
    assert said == "Dense"


def test_the_real_object_detection_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real = types.ModuleType("lava.lib.dl.slayer.object_detection")
    monkeypatch.setitem(sys.modules, real.__name__, real)
    assert not BY_NAME["no object detection"].needed()
    monkeypatch.delitem(sys.modules, real.__name__)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert not BY_NAME["no object detection"].needed()


# Shim 3


class Group(dict[str, Any]):
    """Stands for an h5py group."""


@pytest.fixture
def hdf5() -> Any:
    import_netx()
    return importlib.import_module("lava.lib.dl.netx.hdf5")


@needs_lava
@pytest.mark.parametrize("weight", [np.array([34]), np.array([[34.0]]), np.array(34), np.int64(34)], ids=str)
def test_an_input_layer_of_one_weight_is_read(hdf5: Any, weight: Any) -> None:
    neuron = {
        "type": "CUBA",
        "iDecay": 4095,
        "vDecay": 0,
        "vThMant": 80,
        "refDelay": 1,
        "gradedSpike": False,
    }
    layer = Group(shape=np.array([5, 4, 2]), weight=weight, bias=np.array([-7]), neuron=neuron, type="input")
    process, entry = hdf5.Network.create_input(layer)
    assert process.transform == {"weight": 34, "bias": -7}
    assert "Input" in entry
    assert process.shape == (2, 4, 5)


@needs_lava
def test_upstream_reading_of_an_input_layer_is_why(hdf5: Any) -> None:
    """Where the shim came in, upstream's own function refuses, or warns about, what it now reads."""
    original = getattr(hdf5.Network.create_input, "__wrapped__", None)
    complains = lava_shims._complains(lambda: int(np.zeros(1)))
    assert (original is not None) == complains


# Shim 4


@needs_lava
def test_a_port_reshapes_both_ways(rng: np.random.Generator) -> None:
    ensure_lava()
    port = import_lava("lava.magma.core.process.ports.ports").ReshapePort(new_shape=(12,), old_shape=(3, 4))
    data = rng.integers(0, 99, (3, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flat = port.get_transform_func_fwd()(data)
        np.testing.assert_array_equal(flat, data.ravel())
        np.testing.assert_array_equal(port.get_transform_func_bwd()(flat), data)


FLATTEN = """
def run(payload):
    from sdsnn_core.lava.compat import import_lava
    import numpy as np
    data = payload["data"]
    source = import_lava("lava.proc.io.source").RingBuffer(data=data)
    sink = import_lava("lava.proc.io.sink").RingBuffer(shape=payload["out"], buffer=data.shape[-1])
    if payload["kind"] == "flatten":
        source.s_out.flatten().connect(sink.a_in)
    else:
        conv = import_lava("lava.proc.conv.process").Conv(
            input_shape=data.shape[:3], weight=payload["weight"], padding=(1, 1), groups=payload["groups"])
        source.s_out.connect(conv.s_in)
        conv.a_out.connect(sink.a_in)
    conditions = import_lava("lava.magma.core.run_conditions")
    configs = import_lava("lava.magma.core.run_configs")
    steps = conditions.RunSteps(num_steps=data.shape[-1])
    sink.run(condition=steps, run_cfg=configs.Loihi2SimCfg(select_tag="fixed_pt"))
    got = sink.data.get()
    sink.stop()
    return {"got": got}
"""


@pytest.fixture
def small_lava(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "small_lava_of_test.py").write_text(FLATTEN)
    monkeypatch.syspath_prepend(tmp_path)
    return "small_lava_of_test:run"


@needs_lava
def test_a_flattened_port_carries_data_in_a_run(small_lava: str, rng: np.random.Generator) -> None:
    data = rng.integers(0, 2, (2, 3, 2, 4))
    got = run_in_child(small_lava, {"kind": "flatten", "data": data, "out": (12,)}, 60)["got"]
    np.testing.assert_array_equal(got, data.reshape(12, 4))


# Shim 5


@needs_lava
def test_the_geometry_of_a_convolution_is_32_bits_wide() -> None:
    model = import_lava("lava.proc.conv.models").AbstractPyConvModel
    for name in ("kernel_size", "stride", "padding", "dilation", "groups"):
        assert getattr(model, name).d_type is np.int32
        assert getattr(import_lava("lava.proc.conv.models").PyConvModelFixed, name).d_type is np.int32
    assert model.num_message_bits.d_type is np.int8, "what is not broken stays"


@needs_lava
@pytest.mark.parametrize(("shape", "groups"), [((130, 130, 1), 1), ((3, 3, 128), 128), ((3, 3, 130), 130)], ids=str)
def test_wide_inputs_and_many_groups_are_convolved(
    small_lava: str, rng: np.random.Generator, shape: tuple[int, int, int], groups: int
) -> None:
    """Against the sum written out (Lava flips its kernels): padding 1, kernel 3x3, as many outputs as groups."""
    data = rng.integers(0, 2, (*shape, 3))
    weight = 2 * rng.integers(1, 20, (groups, 3, 3, 1))  # as Lava has it: (out, kx, ky, in / groups)
    payload = {"kind": "conv", "data": data, "weight": weight, "groups": groups, "out": (*shape[:2], groups)}
    got = run_in_child(small_lava, payload, 100)["got"]
    padded = np.pad(data, ((1, 1), (1, 1), (0, 0), (0, 0)))
    width, height = shape[:2]
    expected = np.zeros((width, height, groups, 3))
    for x in range(3):
        for y in range(3):
            expected += weight[:, 2 - x, 2 - y, 0][:, None] * padded[x : x + width, y : y + height]
    assert expected.max() > 0
    # The process sends the sum of one step in the next.
    np.testing.assert_array_equal(got[..., 1:], expected[..., :-1])
    np.testing.assert_array_equal(got[..., 0], 0)


# Shim 6


@needs_lava
@pytest.mark.parametrize(
    ("capability", "listed", "expected"),
    [
        (None, None, None),
        ((7, 5), None, None),
        ((8, 0), "8.0", "8.0"),
        ((8, 9), "8.0", "8.9"),
        ((9, 0), "8.0", "9.0"),
        ((12, 1), "8.0", "12.1"),
        ((9, 0), "9.0a", "9.0a"),
    ],
)
def test_kernels_are_built_for_the_gpu_that_is_here(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] | None, listed: str | None, expected: str | None
) -> None:
    """`listed` is what upstream set on that GPU, or the user before us."""
    jitconfig = import_slayer().neuron.dynamics.leaky_integrator.jitconfig
    monkeypatch.setattr(jitconfig, "TORCH_CUDA_ARCH_LIST", listed)
    monkeypatch.setattr(lava_shims, "_gpu_capability", lambda: capability)
    import_slayer()
    assert expected == jitconfig.TORCH_CUDA_ARCH_LIST


# What it says
