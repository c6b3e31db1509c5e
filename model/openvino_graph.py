"""A graph run by OpenVINO itself, which multiplies in bfloat16 where the processor does (AVX512-BF16, AMX).

onnxruntime's own bridge to OpenVINO opens a graph once for all sizes, and was slower than onnxruntime by itself
(docs/speed.md): a tile's sides differ at a canvas's edges. Here a graph is compiled for each size that comes, of which
a camera has about ten, and for the outputs that are asked for, so that nothing else is computed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_SIZES: Final = 32
"""Compiled sizes that are kept; one takes a sixth of a second to compile."""


class OpenVinoGraph:
    """One graph. `run` may be called by several threads at once.

    Args:
        data: an ONNX file's bytes.
        at_once: runs that go on side by side; more wait for each other.
        threads: of one run.

    Raises:
        ValueError: OpenVINO is not there, or damaged.
        RuntimeError: it cannot read the graph.
    """

    def __init__(self, data: bytes, at_once: int, threads: int) -> None:
        try:
            import openvino
        except ImportError as error:
            hint = "install it anew: pip install 'spotgrid[openvino]'"
            raise ValueError(f"OpenVINO cannot be loaded ({error}); {hint}") from None
        self._openvino = openvino
        self._core = openvino.Core()
        self._model = self._core.read_model(data)
        can = self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._config = {
            "INFERENCE_PRECISION_HINT": "bf16" if "BF16" in can else "f32",
            "NUM_STREAMS": at_once,
            "INFERENCE_NUM_THREADS": at_once * threads,
            "ENABLE_CPU_PINNING": False,  # which cores are ours is told to this process, not to OpenVINO
        }
        self._compiled: OrderedDict[tuple[Any, ...], _Compiled] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def precision(self) -> str:
        """``"bf16"`` or ``"f32"``: in which numbers are multiplied."""
        return str(self._config["INFERENCE_PRECISION_HINT"])

    def run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """As onnxruntime's: the named outputs for these inputs, all of a known shape."""
        return self._for((tuple(outputs), *(array.shape for array in inputs.values())), inputs).run(outputs, inputs)

    def _for(self, key: tuple[Any, ...], inputs: Mapping[str, NDArray[Any]]) -> _Compiled:
        """The graph compiled for these outputs and shapes."""
        with self._lock:  # held while it is compiled: whoever wants the same would else compile it, too
            if key not in self._compiled:
                model = self._model.clone()
                model.reshape({name: list(array.shape) for name, array in inputs.items()})
                wanted = self._openvino.Model([model.output(name) for name in key[0]], model.get_parameters())
                self._compiled[key] = _Compiled(self._core.compile_model(wanted, "CPU", self._config))
                if len(self._compiled) > _SIZES:
                    self._compiled.popitem(last=False)
            self._compiled.move_to_end(key)
            return self._compiled[key]


class _Compiled:
    """One size's compiled graph, and the requests that are free: as many as ever ran at once."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._free = deque[Any]()

    def run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        try:
            request = self._free.pop()
        except IndexError:
            request = self._model.create_infer_request()
        request.infer(dict(inputs), share_inputs=True)
        found = [np.array(request.get_tensor(name).data) for name in outputs]  # the request's own memory is used again
        self._free.append(request)
        return found
