"""The networks once more, plainly, from the keys of a YAML: one function a layer, in eager TensorFlow and float64.

Only the tables of MobileNets are those of the converter.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from maskconver_mobile.converters.network.mobilenet import blocks

Get = Callable[[str, tuple[int, ...]], NDArray[np.float32]]
Keys = dict[str, Any]
Maps = dict[int, tf.Tensor]
OUTPUTS = {
    "class_heatmap": ("class_head", "class_head"),
    "mask_embedding_map": ("mask_embedding_head", "embedding_head"),
    "pixel_embeddings": ("per_pixel_embedding_head", "per_pixel_embeddings_head"),
}
ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "sigmoid": tf.sigmoid,
    "hard_sigmoid": lambda x: tf.nn.relu6(x + 3) * 0.16667,
    "swish": lambda x: x * tf.sigmoid(x),
    "hard_swish": lambda x: x * tf.nn.relu6(x + 3) / 6,
    "gelu": lambda x: 0.5 * x * (1 + tf.math.erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
}


def heads(get: Get, model: Keys, image: NDArray[np.floating[Any]], *, multi: bool = False) -> dict[str, tf.Tensor]:
    """The three maps of level `heads` of a normalized image [1, H, W, 3]."""
    return Network(get, model, multi).heads(tf.constant(image, tf.float64))


def divisible(value: float, divisor: int = 8) -> int:
    rounded = max(8, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


@dataclass
class Network:
    get: Get
    model: Keys
    multi: bool
    epsilon: float = field(init=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        norms = self.model.get("norm_activation", {})
        self.epsilon, self.name = norms.get("norm_epsilon", 0.001), norms.get("activation", "relu")

    # Layers

    def weights(self, path: str, *shape: int) -> tf.Tensor:
        return tf.constant(self.get(path, shape), tf.float64)

    def act(self, x: tf.Tensor) -> tf.Tensor:
        return ACTIVATIONS[self.name](x)

    def head_act(self, x: tf.Tensor) -> tf.Tensor:
        return ACTIVATIONS["gelu_tanh" if self.name == "gelu" else self.name](x)

    def norm(self, x: tf.Tensor, path: str, layer: bool = False) -> tf.Tensor:
        gamma, beta = (self.weights(f"{path}/{part}", x.shape[-1]) for part in ("gamma", "beta"))
        if layer:
            mean, variance = tf.nn.moments(x, [-1], keepdims=True)
            return (x - mean) / tf.sqrt(variance + 1e-6) * gamma + beta
        mean, variance = (self.weights(f"{path}/moving_{part}", x.shape[-1]) for part in ("mean", "variance"))
        return (x - mean) / tf.sqrt(variance + self.epsilon) * gamma + beta

    def bias(self, x: tf.Tensor, path: str) -> tf.Tensor:
        return x + self.weights(f"{path}/bias", x.shape[-1])

    def conv(self, x: tf.Tensor, path: str, filters: int, kernel: int = 1, stride: int = 1) -> tf.Tensor:
        return tf.nn.conv2d(x, self.weights(f"{path}/kernel", kernel, kernel, x.shape[-1], filters), stride, "SAME")

    def depthwise(self, x: tf.Tensor, path: str, kernel: int, stride: int = 1, rate: int = 1) -> tf.Tensor:
        weights = self.weights(f"{path}/depthwise_kernel", kernel, kernel, x.shape[-1], 1)
        return tf.nn.depthwise_conv2d(x, weights, [1, stride, stride, 1], "SAME", dilations=[rate, rate])

    def squeeze(self, x: tf.Tensor, path: str, filters: int, inner: str, gate: str) -> tf.Tensor:
        y = tf.reduce_mean(x, [1, 2], keepdims=True)
        y = ACTIVATIONS[inner](self.bias(self.conv(y, f"{path}/_se_reduce", filters), f"{path}/_se_reduce"))
        y = self.bias(self.conv(y, f"{path}/_se_expand", x.shape[-1]), f"{path}/_se_expand")
        return x * ACTIVATIONS[gate](y)

    # Backbones

    def backbone(self, image: tf.Tensor) -> Maps:
        kind = self.model["backbone"].get("type", "mobilenet")
        keys = self.model["backbone"].get(kind, {})
        if kind == "mobilenet":
            return self.mobilenet(keys, image)
        names = (f"backbone/layer_with_weights-{i}" for i in range(1000))
        endpoints = self.resnet(keys, image, names)
        return self.unet(keys, endpoints, names) if kind == "resnet_unet" else endpoints

    def mobilenet(self, keys: Keys, x: tf.Tensor) -> Maps:
        endpoints: Maps = {}
        limit, scale = keys.get("output_stride"), keys.get("filter_size_scale", 1.0)
        running, rate, level = 1, 1, 2
        for i, block in enumerate(blocks(keys["model_id"])):
            path, act = f"backbone/layer_with_weights-{i}", ACTIVATIONS[block.activation]
            old, stride = 1, block.stride
            if running == limit:
                old, rate, stride = rate, rate * stride, 1
            running *= stride
            filters = divisible(block.filters * scale, 1 if keys["model_id"] == "MobileNetV1" else 8)
            expanded = divisible(x.shape[-1] * block.expand)
            dilation = old if old > 1 else rate
            first = x
            if block.kind == "c":
                x = act(self.norm(self.conv(x, f"{path}/_conv0", filters, block.kernels[0], stride), f"{path}/_norm0"))
            elif block.kind == "d":
                x = self.depthwise(x, f"{path}/_dwconv0", block.kernels[0], stride, old)
                x = self.conv(act(self.norm(x, f"{path}/_norm0")), f"{path}/_conv1", filters)
                x = act(self.norm(x, f"{path}/_norm1"))
            elif block.kind == "u":
                start, middle = block.kernels
                if start:
                    x = self.depthwise(x, f"{path}/_start_dw_conv", start, 1, dilation)
                    x = self.norm(x, f"{path}/_start_dw_norm")
                x = act(self.norm(self.conv(x, f"{path}/_expand_conv", expanded), f"{path}/_expand_norm"))
                if middle:
                    x = self.depthwise(x, f"{path}/_middle_dw_conv", middle, stride, dilation)
                    x = act(self.norm(x, f"{path}/_middle_dw_norm"))
                x = self.norm(self.conv(x, f"{path}/_proj_conv", filters), f"{path}/_proj_norm")
            else:
                if block.expand != 1:
                    kernel, step = (block.kernels[0], stride) if block.kind == "f" else (1, 1)
                    x = act(self.norm(self.conv(x, f"{path}/_conv0", expanded, kernel, step), f"{path}/_norm0"))
                if block.kind == "b":
                    x = self.depthwise(x, f"{path}/_conv1", block.kernels[0], stride, dilation)
                    x = act(self.norm(x, f"{path}/_norm1"))
                if block.squeeze:
                    squeezed = divisible(max(1, int(0.25 * x.shape[-1])))
                    x = self.squeeze(x, f"{path}/_squeeze_excitation", squeezed, "relu", "hard_sigmoid")
                x = self.norm(self.conv(x, f"{path}/_conv2", filters), f"{path}/_norm2")
            if block.kind in "bfu" and block.residual and stride == 1 and first.shape[-1] == x.shape[-1]:
                x = x + first
            if block.endpoint:
                endpoints[level] = x
                level += running != limit
        return endpoints

    def resnet(self, keys: Keys, x: tf.Tensor, names: Any) -> Maps:
        scale = keys.get("depth_multiplier", 1.0)
        stem_scale = scale if keys.get("scale_stem", True) else 1.0
        stem = {"v0": [(64, 7, 2)], "v1": [(32, 3, 2), (32, 3, 1), (64, 3, 1)]}[keys.get("stem_type", "v0")]
        pool = keys.get("replace_stem_max_pool", False)
        for filters, kernel, stride in stem + [(64, 3, 2)] * pool:
            x = self.conv(x, next(names), int(filters * stem_scale), kernel, stride)
            x = self.act(self.norm(x, next(names)))
        x = x if pool else tf.nn.max_pool2d(x, 3, 2, "SAME")
        endpoints: Maps = {}
        repeats = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}[keys.get("model_id", 50)]
        ratio = keys.get("se_ratio", 0)
        for level, count in enumerate(repeats, 2):
            filters = int(2 ** (level + 4) * scale)
            for i in range(count):
                path, stride = next(names), 2 if i == 0 and level > 2 else 1
                y = self.act(self.norm(self.conv(x, f"{path}/_conv1", filters), f"{path}/_norm1"))
                y = self.act(self.norm(self.conv(y, f"{path}/_conv2", filters, 3, stride), f"{path}/_norm2"))
                y = self.norm(self.conv(y, f"{path}/_conv3", 4 * filters), f"{path}/_norm3")
                if ratio:
                    y = self.squeeze(y, f"{path}/_squeeze_excitation", int(4 * filters * ratio), "relu", "sigmoid")
                if i == 0 and keys.get("resnetd_shortcut", False):
                    x = self.conv(tf.nn.avg_pool2d(x, 2, stride, "SAME"), f"{path}/_shortcut1", 4 * filters)
                elif i == 0:
                    x = self.conv(x, f"{path}/_shortcut", 4 * filters, 1, stride)
                x = self.norm(x, f"{path}/_norm0") if i == 0 else x
                x = self.act(x + y)
            endpoints[level] = x
        return endpoints

    def unet(self, keys: Keys, endpoints: Maps, names: Any) -> Maps:
        x = None
        lists = (keys[f"upsample_{part}"] for part in ("filters", "repeats", "kernel_sizes"))
        for level, filters, repeats, kernel in zip((5, 4, 3), *lists, strict=True):
            width = int(filters * keys.get("depth_multiplier", 1.0))
            if x is not None:
                x = doubled(self.norm(self.conv(x, next(names), width), next(names), layer=True))
            side = self.norm(self.conv(endpoints[level], next(names), width), next(names), layer=True)
            x = side if x is None else x + side
            for _ in range(repeats):
                path = next(names)
                y = self.bias(self.depthwise(x, f"{path}/depthwise_conv", kernel), f"{path}/depthwise_conv")
                y = self.norm(y, f"{path}/norm", layer=True)
                y = self.bias(
                    y @ self.weights(f"{path}/pointwise_conv1/kernel", width, 4 * width), f"{path}/pointwise_conv1"
                )
                y = self.squeeze(
                    ACTIVATIONS["gelu"](y), f"{path}/_squeeze_excitation", width // 4, "gelu_tanh", "sigmoid"
                )
                y = self.bias(
                    y @ self.weights(f"{path}/pointwise_conv2/kernel", 4 * width, width), f"{path}/pointwise_conv2"
                )
                x = y * self.weights(f"{path}/gamma", 1, 1, 1, width) + x
            x = self.act(x)
            endpoints[level] = x
        return endpoints

    # Decoders

    def aspp(self, keys: Keys, endpoints: Maps) -> Maps:
        level, filters = int(keys["level"]), keys.get("num_filters", 256)
        x, path = endpoints[level], "decoder/aspp/aspp_layers"

        def finish(y: tf.Tensor, at: str, first: int) -> tf.Tensor:
            y = self.conv(y, f"{at}/layer_with_weights-{first}", filters)
            return self.act(self.norm(y, f"{at}/layer_with_weights-{first + 1}"))

        branches = [finish(x, f"{path}/0", 0)]
        for i, rate in enumerate(keys.get("dilation_rates", ()), 1):
            y = self.depthwise(x, f"{path}/{i}/layer_with_weights-0", 3, rate=rate)
            branches.append(finish(y, f"{path}/{i}", 1))
        if keys.get("pool_kernel_size"):
            size = [side // 2**level for side in keys["pool_kernel_size"]]
            pooled = tf.nn.avg_pool2d(x, size, size, "VALID")
        else:
            pooled = tf.reduce_mean(x, [1, 2], keepdims=True)
        pooled = finish(pooled, f"{path}/{len(branches)}/layer_with_weights-0", 0)
        branches.append(resized(pooled, x.shape[1:3]))
        return {level: finish(tf.concat(branches, -1), "decoder/aspp/projection", 0)}

    def fpn(self, keys: Keys, kind: str, endpoints: Maps, root: str) -> Maps:
        low, high = self.model.get("min_level", 3), self.model.get("max_level", 7)
        top, filters = min(5, high), keys.get("num_filters", 256)
        separable = keys.get("use_separable_conv", False)
        posthoc = keys.get("depthwise_kernel_size", 7) if separable and kind == "maskconver_fpn" else 3
        depth = {("post-hoc", level): 1 for level in range(low, top)}
        depth |= {("coarser", level): 1 + 2 * (high - level) for level in range(top + 1, high + 1)}
        depth["post-hoc", top] = 1 + depth.get(("coarser", top + 1), 0)
        depth |= {("lateral", level): 3 + 6 * (level - low) for level in range(low, top)}
        depth["lateral", top] = 2 + 6 * (top - low) if top > low else depth["post-hoc", top] + 1
        kinds = ["lateral", "post-hoc", "coarser"]
        order = sorted(depth, key=lambda at: (-depth[at], kinds.index(at[0]), at[1]))
        order += [("norm", level) for level in range(low, high + 1)]
        paths = {at: f"{root}/layer_with_weights-{i}" for i, at in enumerate(order)}

        def conv(x: tf.Tensor, path: str, kernel: int, stride: int = 1) -> tf.Tensor:
            if separable:
                x = self.depthwise(x, path, kernel, stride)
                x = x @ self.weights(f"{path}/pointwise_kernel", 1, 1, x.shape[-1], filters)[0, 0]
                return self.bias(x, path)
            return self.bias(self.conv(x, path, filters, kernel, stride), path)

        features: Maps = {}
        for level in range(top, low - 1, -1):
            x = conv(endpoints[level], paths["lateral", level], 1)
            if level < top:
                finer = doubled(features[level + 1])
                x = tf.concat([finer, x], -1) if keys.get("fusion_type") == "concat" else finer + x
            features[level] = x
        maps = {level: conv(features[level], paths["post-hoc", level], posthoc) for level in range(low, top + 1)}
        for level in range(top + 1, high + 1):
            x = maps[level - 1] if level == top + 1 else self.act(maps[level - 1])
            maps[level] = conv(x, paths["coarser", level], 3, 2)
        layer = kind == "maskconver_fpn" and keys.get("use_layer_norm", True)
        return {level: self.norm(x, paths["norm", level], layer) for level, x in maps.items()}

    def decoder(self, part: str, endpoints: Maps) -> Maps:
        keys = self.model[part]
        kind = keys["type"]
        return (
            self.aspp(keys[kind], endpoints) if kind == "aspp" else self.fpn(keys.get(kind, {}), kind, endpoints, part)
        )

    # Heads

    def heads(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        endpoints = self.backbone(image)
        decoded = self.decoder("decoder", endpoints)
        found = {}
        for name, (part, path) in OUTPUTS.items():
            keys, pixels = self.model[part], name == "pixel_embeddings"
            defaults = {"num_convs": 4, "prediction_kernel_size": 3} if self.multi and not pixels else {}
            keys = {"num_convs": 2, "prediction_kernel_size": 1, **defaults, **keys}
            outputs = self.model["num_classes" if name == "class_heatmap" else "embedding_size"]
            if self.multi and not pixels:
                maps = [self.predict(x, path, keys, outputs, f"/{i}") for i, x in enumerate(decoded.values())]
                found[name] = tf.concat([tf.reshape(x, (1, -1, 1, outputs)) for x in maps], 1)
                found[name] = maps[0] if len(maps) == 1 else found[name]
                continue
            maps = decoded
            if pixels and (self.model.get("mask_decoder") or {}).get("type", "identity") != "identity":
                maps = self.decoder("mask_decoder", endpoints)
            found[name] = self.predict(self.fuse(path, keys, endpoints, maps), path, keys, outputs)
        return found

    def fuse(self, path: str, keys: Keys, endpoints: Maps, decoded: Maps) -> tf.Tensor:
        kind, level = keys.get("feature_fusion"), keys.get("level", 3)
        if kind == "pyramid_fusion":
            return sum(resized(x, [side * 2 ** (at - level) for side in x.shape[1:3]]) for at, x in decoded.items())
        if kind == "panoptic_fpn_fusion":
            return self.panoptic_fpn(f"{path}/_panoptic_fpn_fusion", keys, decoded, level)
        if kind in (None, "none"):
            return decoded[level] if len(decoded) > 1 else next(iter(decoded.values()))
        y = self.conv(endpoints[int(keys["low_level"])], f"{path}/_dlv3p_conv", keys.get("low_level_num_filters", 48))
        y = self.head_act(self.norm(y, f"{path}/_dlv3p_norm", keys.get("use_layer_norm", self.multi)))
        x = resized(next(iter(decoded.values())), y.shape[1:3])
        return tf.concat([x, y], -1) if kind == "deeplabv3plus" else x + y

    def panoptic_fpn(self, path: str, keys: Keys, decoded: Maps, level: int) -> tf.Tensor:
        levels = range(keys["decoder_min_level"], keys["decoder_max_level"] + 1)
        steps = [
            (n - j - (at == level), kind, at, j)
            for at in levels
            for n in [max(1, at - level)]
            for j in range(n)
            for kind in (0, 1)
        ]
        paths = {
            (at, j, kind): f"{path}/layer_with_weights-{i}"
            for i, (_, kind, at, j) in enumerate(sorted(steps, key=lambda step: (-step[0], *step[1:])))
        }
        total = 0.0
        for at in levels:
            x = decoded[at]
            for j in range(max(1, at - level)):
                x = self.bias(self.conv(x, paths[at, j, 0], keys["num_filters"], 3), paths[at, j, 0])
                x = self.head_act(self.group_norm(x, paths[at, j, 1]))
                x = x if at == level else doubled(x)
            total = total + x
        return total

    def group_norm(self, x: tf.Tensor, path: str) -> tf.Tensor:
        _, height, width, channels = x.shape
        y = tf.reshape(x, (height, width, 32, channels // 32))
        mean, variance = tf.nn.moments(y, [0, 1, 3], keepdims=True)
        y = tf.reshape((y - mean) / tf.sqrt(variance + 0.001), x.shape)
        return y * self.weights(f"{path}/gamma", channels) + self.weights(f"{path}/beta", channels)

    def predict(self, x: tf.Tensor, path: str, keys: Keys, outputs: int, scale: str = "") -> tf.Tensor:
        layer, filters = keys.get("use_layer_norm", self.multi), keys.get("num_filters", 256)
        pairs = keys.get("use_depthwise_convolution", False)
        j = 0
        for _ in range(keys["num_convs"]):
            if pairs:
                x = self.depthwise(x, f"{path}/_convs/{j}", keys.get("depthwise_kernel_size", 7))
                x = self.head_act(self.norm(x, f"{path}/_norms{scale}/{j}", layer))
                j += 1
            x = self.conv(x, f"{path}/_convs/{j}", filters, 1 if pairs else 3)
            x = self.head_act(self.norm(x, f"{path}/_norms{scale}/{j}", layer))
            j += 1
        factor = keys.get("upsample_factor", 1)
        x = tf.repeat(tf.repeat(x, factor, 1), factor, 2)
        x = self.conv(x, f"{path}/_classifier", outputs, keys["prediction_kernel_size"])
        return self.bias(x, f"{path}/_classifier")


def doubled(x: tf.Tensor) -> tf.Tensor:
    return tf.repeat(tf.repeat(x, 2, 1), 2, 2)


def resized(x: tf.Tensor, size: Sequence[int]) -> tf.Tensor:
    """Bilinear with half-pixel centers, as products with two matrices: TensorFlow's own gives float32."""

    def weights(n: int, m: int) -> NDArray[np.float64]:
        places = np.clip((np.arange(m)[:, None] + 0.5) * n / m - 0.5, 0, n - 1)
        return np.maximum(0, 1 - np.abs(places - np.arange(n)))

    rows, columns = (tf.constant(weights(n, m)) for n, m in zip(x.shape[1:3], size, strict=True))
    return tf.einsum("yh,bhwc,xw->byxc", rows, x, columns)
