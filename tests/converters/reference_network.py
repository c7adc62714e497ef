"""The network once more, plainly: one function a layer, batch norm unfolded, in eager TensorFlow."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from maskconver_mobile.converters.config import ModelConfig
from maskconver_mobile.converters.network.heads import Head
from maskconver_mobile.converters.network.mobilenet import blocks

Get = Callable[[str, tuple[int, ...]], NDArray[np.float32]]


def divisible(value: float) -> int:
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded


def heads(get: Get, config: ModelConfig, image: tf.Tensor) -> dict[str, tf.Tensor]:
    """The three head maps of a normalised image [1, H, W, 3]."""
    endpoints = backbone(get, config, image)
    decoded = aspp(get, config, endpoints["4"])
    return {
        "class_heatmap": head(get, "class_head", config.class_head, config, endpoints, decoded, config.num_classes),
        "mask_embedding_map": head(
            get, "embedding_head", config.mask_embedding_head, config, endpoints, decoded, config.embedding_size
        ),
        "pixel_embeddings": head(
            get,
            "per_pixel_embeddings_head",
            config.per_pixel_embedding_head,
            config,
            endpoints,
            decoded,
            config.embedding_size,
        ),
    }


def norm(get: Get, path: str, x: tf.Tensor, epsilon: float, layer: bool = False) -> tf.Tensor:
    channels = (x.shape[-1],)
    gamma, beta = get(f"{path}/gamma", channels), get(f"{path}/beta", channels)
    if layer:
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, 1e-6)
    mean, variance = get(f"{path}/moving_mean", channels), get(f"{path}/moving_variance", channels)
    return tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)


def conv(get: Get, path: str, x: tf.Tensor, filters: int, kernel: int = 1, stride: int = 1) -> tf.Tensor:
    return tf.nn.conv2d(x, get(f"{path}/kernel", (kernel, kernel, x.shape[-1], filters)), stride, "SAME")


def depthwise(get: Get, path: str, x: tf.Tensor, kernel: int, stride: int = 1, rate: int = 1) -> tf.Tensor:
    weights = get(f"{path}/depthwise_kernel", (kernel, kernel, x.shape[-1], 1))
    return tf.nn.depthwise_conv2d(x, weights, [1, stride, stride, 1], "SAME", dilations=[rate, rate])


def backbone(get: Get, config: ModelConfig, x: tf.Tensor) -> dict[str, tf.Tensor]:
    endpoints = {}
    running, rate, eps = 1, 1, config.norm_epsilon
    level = 2
    for i, block in enumerate(blocks(config.backbone.model_id)):
        stride = block.stride
        if running >= 16:
            rate *= stride
            stride = 1
        running *= stride
        filters = divisible(block.filters * config.backbone.filter_size_scale)
        path = f"backbone/layer_with_weights-{i}"
        if block.kind == "c":
            x = conv(get, f"{path}/_conv0", x, filters, block.kernels[0], stride)
            x = tf.nn.relu(norm(get, f"{path}/_norm0", x, eps))
        else:
            y = conv(get, f"{path}/_conv0", x, divisible(x.shape[-1] * block.expand))
            y = tf.nn.relu(norm(get, f"{path}/_norm0", y, eps))
            y = depthwise(get, f"{path}/_conv1", y, block.kernels[0], stride, rate)
            y = tf.nn.relu(norm(get, f"{path}/_norm1", y, eps))
            y = norm(get, f"{path}/_norm2", conv(get, f"{path}/_conv2", y, filters), eps)
            x = x + y if x.shape[-1] == filters and stride == 1 else y
        if block.endpoint:
            endpoints[str(level)] = x
            level += running < 16
    return endpoints


def aspp(get: Get, config: ModelConfig, x: tf.Tensor) -> tf.Tensor:
    spec, eps = config.decoder, config.norm_epsilon
    path = "decoder/aspp/aspp_layers"

    def finish(y: tf.Tensor, at: str, first: int) -> tf.Tensor:
        y = conv(get, f"{at}/layer_with_weights-{first}", y, spec.num_filters)
        return tf.nn.relu(norm(get, f"{at}/layer_with_weights-{first + 1}", y, eps))

    branches = [finish(x, f"{path}/0", 0)]
    for i, rate in enumerate(spec.dilation_rates, 1):
        y = depthwise(get, f"{path}/{i}/layer_with_weights-0", x, 3, rate=rate)
        branches.append(finish(y, f"{path}/{i}", 1))
    if spec.pool_kernel_size is None:
        pooled = tf.reduce_mean(x, [1, 2], keepdims=True)
    else:
        size = [side // 16 for side in spec.pool_kernel_size]
        pooled = tf.nn.avg_pool2d(x, size, size, "VALID")
    pooled = finish(pooled, f"{path}/{len(branches)}/layer_with_weights-0", 0)
    branches.append(tf.image.resize(pooled, x.shape[1:3]))
    return finish(tf.concat(branches, -1), "decoder/aspp/projection", 0)


def head(
    get: Get,
    path: str,
    spec: Head,
    config: ModelConfig,
    endpoints: dict[str, tf.Tensor],
    x: tf.Tensor,
    outputs: int,
) -> tf.Tensor:
    eps, layer = config.norm_epsilon, spec.use_layer_norm
    if spec.fusion != "none":
        y = conv(get, f"{path}/_dlv3p_conv", endpoints[str(spec.low_level)], spec.low_level_filters)
        y = tf.nn.relu(norm(get, f"{path}/_dlv3p_norm", y, eps, layer))
        x = tf.image.resize(x, y.shape[1:3])
        x = tf.concat([x, y], -1) if spec.fusion == "deeplabv3plus" else x + y
    for i in range(spec.num_convs):
        x = depthwise(get, f"{path}/_convs/{2 * i}", x, spec.kernel_size)
        x = tf.nn.relu(norm(get, f"{path}/_norms/{2 * i}", x, eps, layer))
        x = conv(get, f"{path}/_convs/{2 * i + 1}", x, spec.num_filters)
        x = tf.nn.relu(norm(get, f"{path}/_norms/{2 * i + 1}", x, eps, layer))
    return conv(get, f"{path}/_classifier", x, outputs) + get(f"{path}/_classifier/bias", (outputs,))
