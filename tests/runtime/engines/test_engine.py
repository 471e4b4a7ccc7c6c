"""What every engine does, and what only one of them does."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
import pytest
from host_tensorrt import HostCuda, HostTensorRT, ICudaEngine, IExecutionContext
from hyvic_runtime.engines.engine import Engine, OnnxRuntimeEngine, Provider
from hyvic_runtime.engines.tensorrt.cuda_device import CudaDevice
from hyvic_runtime.engines.tensorrt.engine import TensorRTEngine
from hyvic_runtime.engines.tensorrt.library import TensorRTLibrary
from hyvic_runtime.errors import EngineError
from hyvic_runtime.families.latent.bundle import LatentBundle
from hyvic_runtime.families.latent.conformance import check_entropy_path
from hyvic_runtime.families.latent.entropy_path import EntropyPath
from hyvic_runtime.families.registry import read_bundle


@pytest.fixture
def bundle(tiny_bundle: Path) -> LatentBundle:
    return read_bundle(tiny_bundle)


class EngineContract:
    """A subclass gives `engine`, the tiny bundle's hyper-decoder, and `load`, which loads a file."""

    @pytest.fixture
    def vectors(self, bundle: LatentBundle) -> np.ndarray:
        return bundle.conformance.astype(np.float32)

    def test_it_computes_the_entropy_path_exactly(self, engine: Engine, bundle: LatentBundle) -> None:
        check_entropy_path(bundle, EntropyPath(bundle, engine))

    def test_outputs_have_the_graphs_names_types_and_shapes(self, engine: Engine, vectors: np.ndarray) -> None:
        outputs = engine.run({"hyperlatent": vectors[:1]})
        assert outputs.keys() == {"scale_index", "mean_steps"}
        for output in outputs.values():
            assert output.dtype == np.int32
            assert output.shape == (1, 20, 8, 8)
            assert output.flags.c_contiguous

    def test_a_batch_gives_what_its_tiles_give(self, engine: Engine, vectors: np.ndarray) -> None:
        batch = engine.run({"hyperlatent": vectors[4:8]})
        single = [engine.run({"hyperlatent": vector[None]}) for vector in vectors[4:8]]
        for name, output in batch.items():
            assert np.array_equal(output, np.concatenate([one[name] for one in single]))

    def test_what_was_given_and_received_stays_the_callers(self, engine: Engine, vectors: np.ndarray) -> None:
        given = vectors[5:6].copy()
        first = engine.run({"hyperlatent": given})
        kept = {name: output.copy() for name, output in first.items()}
        second = engine.run({"hyperlatent": vectors[6:7]})
        assert np.array_equal(given, vectors[5:6])
        for name, output in first.items():
            assert np.array_equal(output, kept[name])
            assert not np.array_equal(output, second[name])

    def test_a_view_of_an_array_is_read_as_it_looks(self, engine: Engine, vectors: np.ndarray) -> None:
        turned = engine.run({"hyperlatent": vectors[7:8].swapaxes(2, 3)})
        copied = engine.run({"hyperlatent": np.ascontiguousarray(vectors[7:8].swapaxes(2, 3))})
        assert np.array_equal(turned["mean_steps"], copied["mean_steps"])

    @pytest.mark.parametrize(
        "inputs",
        [
            {},
            {"latent": np.zeros((1, 12, 2, 2), np.float32)},
            {"hyperlatent": np.zeros((1, 12, 2, 2), np.float32), "gain": np.zeros((1, 1, 1, 1), np.float32)},
            {"hyperlatent": np.zeros((1, 12, 2, 2), np.float64)},
            {"hyperlatent": np.zeros((1, 12, 2, 3), np.float32)},
            {"hyperlatent": np.zeros((12, 2, 2), np.float32)},
        ],
        ids=["nothing", "another name", "too much", "another type", "another shape", "no batch"],
    )
    def test_inputs_that_are_not_the_graphs_are_refused_in_one_line(
        self, engine: Engine, inputs: dict[str, np.ndarray], vectors: np.ndarray
    ) -> None:
        with pytest.raises(EngineError) as caught:
            engine.run(inputs)
        assert "\n" not in str(caught.value)
        assert engine.run({"hyperlatent": vectors[:1]}).keys() == {"scale_index", "mean_steps"}

    def test_a_file_that_is_damaged_is_refused_in_one_line(self, load: type[Engine], tmp_path: Path) -> None:
        (tmp_path / "g").write_bytes(b"not a graph")
        with pytest.raises(EngineError, match="g") as caught:
            load(tmp_path / "g")
        assert "\n" not in str(caught.value)

    def test_it_says_what_it_is(self, engine: Engine) -> None:
        assert any(digit in engine.describe() for digit in "0123456789")
        assert "\n" not in engine.describe()


class TestOnnxRuntime(EngineContract):
    @pytest.fixture
    def load(self) -> type[OnnxRuntimeEngine]:
        return OnnxRuntimeEngine

    @pytest.fixture
    def engine(self, tiny_bundle: Path) -> Engine:
        return OnnxRuntimeEngine(tiny_bundle / "hyperdecoder.onnx")

    def test_a_provider_that_is_not_there_is_not_replaced_by_the_processor(self, tiny_bundle: Path) -> None:
        import onnxruntime

        if Provider.CUDA.value[0] in onnxruntime.get_available_providers():
            pytest.skip("this ONNX Runtime has CUDA")
        with pytest.raises(EngineError, match=r"cannot use CUDA here.*onboard\[gpu\]"):
            OnnxRuntimeEngine(tiny_bundle / "hyperdecoder.onnx", provider=Provider.CUDA)


def _host_engine(path: Path) -> TensorRTEngine:
    return TensorRTEngine(path, TensorRTLibrary.TENSORRT)


class TestTensorRTOnTheHost(EngineContract):
    """Our use of the API, with the host in place of a GPU."""

    @pytest.fixture(autouse=True)
    def cuda(self, monkeypatch: pytest.MonkeyPatch) -> HostCuda:
        cuda = HostCuda()
        monkeypatch.setitem(sys.modules, "tensorrt", HostTensorRT(cuda))
        monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
        return cuda

    @pytest.fixture
    def load(self):
        return _host_engine

    @pytest.fixture
    def engine(self, tiny_bundle: Path, cuda: HostCuda) -> Engine:
        return _host_engine(tiny_bundle / "hyperdecoder.onnx")

    def test_more_tiles_than_the_profile_has_are_refused_with_its_limits(
        self, engine: Engine, vectors: np.ndarray
    ) -> None:
        with pytest.raises(EngineError, match=r"takes \(1, 12, 2, 2\) … \(4, 12, 2, 2\)"):
            engine.run({"hyperlatent": vectors[:5]})

    def test_device_memory_is_kept_between_calls_and_given_back_at_the_end(
        self, cuda: HostCuda, tiny_bundle: Path, vectors: np.ndarray
    ) -> None:
        engine = _host_engine(tiny_bundle / "hyperdecoder.onnx")
        engine.run({"hyperlatent": vectors[:4]})
        held = set(cuda.memory)
        engine.run({"hyperlatent": vectors[:1]})
        assert set(cuda.memory) == held
        assert len(held) == 3
        del engine
        gc.collect()
        assert not cuda.memory
        assert not cuda.queues

    def test_a_machine_without_a_gpu_is_told_so(self, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", HostCuda(devices=0))
        with pytest.raises(EngineError, match=r"no CUDA device here \(cudaGetDeviceCount: cudaErrorNoDevice\)"):
            _host_engine(tiny_bundle / "hyperdecoder.onnx")

    def test_an_engine_of_another_version_is_built_again_not_tried(self, tiny_bundle: Path) -> None:
        with pytest.raises(
            EngineError, match=r"built with TensorRT 8.5.2, and version 10.3.0 is installed; build it again here"
        ):
            TensorRTEngine(tiny_bundle / "hyperdecoder.onnx", TensorRTLibrary.TENSORRT, built_with="8.5.2")

    def test_the_device_says_its_compute_capability(self) -> None:
        assert CudaDevice().compute_capability == "8.7"


@pytest.mark.parametrize(
    ("module", "stand_in"), [("ICudaEngine", ICudaEngine), ("IExecutionContext", IExecutionContext)]
)
def test_the_stand_in_has_no_call_that_tensorrt_lacks(module: str, stand_in: type) -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="no wheel of TensorRT-RTX for this platform")
    calls = {name for name in vars(stand_in) if not name.startswith("_")}
    assert len(calls) >= 4
    assert calls <= set(dir(getattr(trt, module)))


def test_the_stand_in_has_no_call_that_cuda_lacks() -> None:
    runtime = pytest.importorskip("cuda.bindings.runtime")
    assert {name for name in vars(HostCuda) if name.startswith("cuda")} <= set(dir(runtime))
    assert runtime.cudaError_t.cudaSuccess == 0
    assert runtime.cudaMemcpyKind.cudaMemcpyHostToDevice == HostCuda.cudaMemcpyKind.cudaMemcpyHostToDevice
    assert runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost == HostCuda.cudaMemcpyKind.cudaMemcpyDeviceToHost


def _skip_where_missing(library: TensorRTLibrary) -> pytest.MarkDecorator:
    try:
        CudaDevice()
        library.load()
    except EngineError as error:
        return pytest.mark.skip(reason=str(error))
    return pytest.mark.skipif(False, reason="")


class RealTensorRT(EngineContract):
    """The real library on a real GPU, with an engine that it built just now."""

    library: TensorRTLibrary

    @pytest.fixture
    def load(self):
        return lambda path: TensorRTEngine(path, self.library)

    @pytest.fixture
    def engine(self, tiny_bundle: Path, tmp_path: Path) -> Engine:
        from hyvic_export.tensorrt.builder import EngineBuilder

        engine = tmp_path / "hyperdecoder.engine"
        builder = EngineBuilder(self.library, compute_capability=None)
        engine.write_bytes(builder.build(tiny_bundle / "hyperdecoder.onnx"))
        return TensorRTEngine(engine, self.library, built_with=builder.version)


@pytest.mark.gpu
@_skip_where_missing(TensorRTLibrary.TENSORRT)
class TestTensorRT(RealTensorRT):
    library = TensorRTLibrary.TENSORRT


@pytest.mark.gpu
@_skip_where_missing(TensorRTLibrary.TENSORRT_RTX)
class TestTensorRTRTX(RealTensorRT):
    library = TensorRTLibrary.TENSORRT_RTX
