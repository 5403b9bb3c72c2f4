"""A small builder of ONNX graphs: nodes are added in order, weights come from a checkpoint by their names."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open

MICROSOFT = "com.microsoft"
GROUP = 32
TYPES = {"f32": TensorProto.FLOAT, "i64": TensorProto.INT64}


class Weights:
    """Tensors by name: from a plain checkpoint in f32, and 4-bit matrices as a shard set holds them.

    Those named in `unpacked` are given in f32 alone.
    """

    def __init__(self, plain: Path, shards: Path | None = None, unpacked: tuple[str, ...] = ()):
        self.config = json.loads((plain / "config.json").read_text())
        self._plain = _open_all(plain)
        self._packed = _open_all(shards) if shards else {}
        self._unpacked = unpacked

    def __contains__(self, name: str) -> bool:
        return name in self._plain

    def __getitem__(self, name: str) -> np.ndarray:
        return self._plain[name].get_tensor(name)

    def packed(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        """A matrix [N, K] as MatMulNBits reads it: nibbles u8 [N, K / 32, 16] and scales f32 [N * K / 32].

        The shard set's words hold the same nibbles in the same order, and both mean (nibble - 8) * scale,
        so nothing is rounded anew.
        """
        scales_name = name.removesuffix(".weight") + ".scales"
        if name in self._unpacked or scales_name not in self._packed:
            return None
        words = self._packed[name].get_tensor(name)
        scales = self._packed[scales_name].get_tensor(scales_name)
        rows, groups = scales.shape
        if words.shape != (rows, groups * GROUP // 8):
            return None  # 8 bits a weight
        return words.view(np.uint8).reshape(rows, groups, GROUP // 2), scales.astype(np.float32).ravel()


def _open_all(folder: Path) -> dict:
    """The open file that holds each tensor."""
    tensors = {}
    for path in sorted(folder.glob("model*.safetensors")):
        file = safe_open(path, "np")
        tensors |= {name: file for name in file.keys()}
    return tensors


class Graph:
    """One ONNX graph under construction; values are referred to by their names."""

    def __init__(self, weights: Weights):
        self.weights = weights
        self._nodes, self._constants, self._inputs, self._outputs = [], {}, [], []

    def input(self, name: str, kind: str, shape: list[int | str]) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, TYPES[kind], shape))
        return name

    def output(self, name: str, value: str, kind: str, shape: list[int | str]) -> None:
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TYPES[kind], shape))

    def constant(self, array: np.ndarray, name: str | None = None) -> str:
        name = name or f"constant_{len(self._constants)}"
        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64), "ints_" + "_".join(map(str, values)))

    def weight(self, name: str) -> str:
        return self.constant(self.weights[name], name)

    def op(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes):
        names = [f"{kind}_{len(self._nodes)}_{at}" for at in range(outputs)]
        self._nodes.append(helper.make_node(kind, inputs, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def linear(self, x: str, name: str) -> str:
        """x [.., K] times the matrix `name`.weight [N, K] transposed, plus `name`.bias where there is one."""
        weight = f"{name}.weight"
        packed = self.weights.packed(weight)
        if packed is None:
            y = self.op("MatMul", x, self.constant(self.weights[weight].T, f"{weight}.T"))
        else:
            nibbles, scales = (self.constant(part, f"{weight}.{at}") for at, part in enumerate(packed))
            rows, groups, _ = packed[0].shape
            y = self.op(
                "MatMulNBits", x, nibbles, scales,
                domain=MICROSOFT, K=groups * GROUP, N=rows, bits=4, block_size=GROUP, accuracy_level=0,
            )
        return self.op("Add", y, self.weight(f"{name}.bias")) if f"{name}.bias" in self.weights else y

    def layer_norm(self, x: str, name: str, epsilon: float) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)

    def rms_norm(self, x: str, name: str, epsilon: float) -> str:
        return self.op("SimplifiedLayerNormalization", x, self.weight(f"{name}.weight"), axis=-1, epsilon=epsilon)

    def gelu(self, x: str) -> str:
        return self.op("Gelu", x, domain=MICROSOFT)

    def save(self, path: Path) -> None:
        graph = helper.make_graph(self._nodes, path.stem, self._inputs, self._outputs, self._constants.values())
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
