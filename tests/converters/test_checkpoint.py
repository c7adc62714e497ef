import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from checkpoints import Arrays, random_weights, tree, write_checkpoint
from models import DEMO_CHECKPOINT, DEMO_CONFIG
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from maskconver_mobile.converters.checkpoint import OBJECT_GRAPH, Weights, read_checkpoint
from maskconver_mobile.converters.compiler import plain_graph
from maskconver_mobile.converters.config import read_config
from maskconver_mobile.converters.spec import GraphSpec
from maskconver_mobile.errors import MaskConverError

PATH = "backbone/layer_with_weights-1/_conv1/depthwise_kernel"
SHAPE = (3, 3, 24, 1)


def read_everything(weights: Weights, config: Path) -> None:
    plain_graph(read_config(config), weights, GraphSpec())


@pytest.fixture(scope="module")
def arrays(data: Path) -> Arrays:
    """Every variable of a tiny model."""
    recorder = random_weights()
    read_everything(recorder, data / "tiny_96" / "config.yaml")
    return recorder.arrays


@pytest.fixture(scope="module")
def checkpoint(arrays: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(arrays, tmp_path_factory.mktemp("checkpoint") / "ckpt-3")


def copy(checkpoint: Path, folder: Path, name: str = "ckpt-3") -> Path:
    for suffix in (".index", ".data-00000-of-00001"):
        shutil.copy(checkpoint.with_name(checkpoint.name + suffix), folder / (name + suffix))
    return folder / name


@pytest.mark.parametrize("form", ["prefix", "index", "folder"])
def test_ways_to_name_it(form: str, checkpoint: Path, arrays: Arrays) -> None:
    path = {"prefix": checkpoint, "index": checkpoint.with_name("ckpt-3.index"), "folder": checkpoint.parent}[form]
    weights = read_checkpoint(path)
    np.testing.assert_array_equal(weights(PATH, SHAPE), arrays[PATH])
    assert len(weights.sha256) == 64


def test_a_folder_means_its_latest(arrays: Arrays, tmp_path: Path) -> None:
    older = {path: np.zeros_like(array) for path, array in arrays.items()}
    for values in (older, dict(arrays)):
        tf.train.CheckpointManager(tf.train.Checkpoint(model=tree(values)), str(tmp_path), 5).save()
    np.testing.assert_array_equal(read_checkpoint(tmp_path)(PATH, SHAPE), arrays[PATH])


def test_further_roots(arrays: Arrays, tmp_path: Path) -> None:
    """Variables are keyed by the shortest path that reaches them, here not through `model`."""
    model = tree(arrays)
    roots = {"backbone": model.backbone, "global_step": tf.Variable(7), "optimizer": tf.Module()}
    tf.train.Checkpoint(model=model, **roots).write(str(tmp_path / "ckpt"))
    keys = tf.train.load_checkpoint(str(tmp_path / "ckpt")).get_variable_to_shape_map()
    assert f"{PATH}/.ATTRIBUTES/VARIABLE_VALUE" in keys
    np.testing.assert_array_equal(read_checkpoint(tmp_path / "ckpt")(PATH, SHAPE), arrays[PATH])


@pytest.mark.parametrize("wrapped", [False, True])
def test_saved_model(arrays: Arrays, tmp_path: Path, wrapped: bool) -> None:
    module = tree(arrays)
    if wrapped:
        outer = tf.Module()
        outer.model = module
        module = outer
    tf.saved_model.save(module, str(tmp_path / "export"))
    for path in (tmp_path / "export", tmp_path / "export" / "variables" / "variables"):
        np.testing.assert_array_equal(read_checkpoint(path)(PATH, SHAPE), arrays[PATH])


def test_the_bundled_checkpoint_is_complete() -> None:
    read_everything(read_checkpoint(DEMO_CHECKPOINT), DEMO_CONFIG)


def test_missing_variable(arrays: Arrays, tmp_path: Path, data: Path) -> None:
    path = write_checkpoint({p: a for p, a in arrays.items() if p != PATH}, tmp_path / "ckpt")
    with pytest.raises(MaskConverError, match=rf"variable {PATH} is missing, wanted shape \[3, 3, 24, 1\]"):
        read_everything(read_checkpoint(path), data / "tiny_96" / "config.yaml")


def test_other_shape(checkpoint: Path) -> None:
    with pytest.raises(MaskConverError, match=rf"{PATH} has shape \[3, 3, 24, 1\], wanted \[5, 5, 24, 1\]"):
        read_checkpoint(checkpoint)(PATH, (5, 5, 24, 1))


def test_not_finite(arrays: Arrays, tmp_path: Path) -> None:
    path = write_checkpoint({**arrays, PATH: np.full(SHAPE, np.nan, np.float32)}, tmp_path / "ckpt")
    with pytest.raises(MaskConverError, match=f"{PATH} holds NaN"):
        read_checkpoint(path)(PATH, SHAPE)


def test_another_architecture(tmp_path: Path) -> None:
    tf.train.Checkpoint(net=tf.Variable([1.0]), step=tf.Variable(1)).write(str(tmp_path / "ckpt"))
    with pytest.raises(MaskConverError, match=r"holds no MaskConver model .* its top-level objects are: net, s"):
        read_checkpoint(tmp_path / "ckpt")


def test_name_based_checkpoint(tmp_path: Path) -> None:
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "ckpt"), tensor_names=["w"], shape_and_slices=[""], tensors=[tf.constant([1.0])]
    )
    with pytest.raises(MaskConverError, match="no object graph"):
        read_checkpoint(tmp_path / "ckpt")


@pytest.mark.parametrize("damage", ["no index", "no data", "renamed data", "empty index", "cut index", "cut data"])
def test_damage_is_one_line(damage: str, checkpoint: Path, tmp_path: Path) -> None:
    path = copy(checkpoint, tmp_path)
    index, shard = path.with_name("ckpt-3.index"), path.with_name("ckpt-3.data-00000-of-00001")
    if damage == "no index":
        index.unlink()
    elif damage == "no data":
        shard.unlink()
    elif damage == "renamed data":
        shard.rename(path.with_name("other.data-00000-of-00001"))
    elif damage == "empty index":
        index.write_bytes(b"")
    else:
        file = index if damage == "cut index" else shard
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])

    def read() -> None:
        weights = read_checkpoint(path)
        for variable, shape in ((PATH, SHAPE), ("class_embeddings/embeddings", (20, 24))):
            weights(variable, shape)

    with pytest.raises(MaskConverError) as caught:
        read()
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MaskConverError, match="no checkpoint in this folder"):
        read_checkpoint(tmp_path)
    with pytest.raises(MaskConverError, match=r"none\.index is missing"):
        read_checkpoint(tmp_path / "none")


def test_the_highest_number_is_the_latest(checkpoint: Path, tmp_path: Path) -> None:
    """Not the last name, nor the newest file, nor one that was not finished."""
    for name in ("ckpt-1000", "ckpt-200", "best"):
        copy(checkpoint, tmp_path, name)
    (tmp_path / "ckpt-3000.index").touch()
    assert read_checkpoint(tmp_path).origin == str(tmp_path / "ckpt-1000")


@pytest.mark.parametrize("named", ["ckpt-5", "/mnt/tpu/exp/ckpt-5", r"C:\runs\exp 1\ckpt-5"])
def test_the_checkpoint_file_names_one_of_its_own_folder(named: str, checkpoint: Path, tmp_path: Path) -> None:
    for name in ("ckpt-5", "ckpt-9"):
        copy(checkpoint, tmp_path, name)
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{named}"\r\n')
    assert read_checkpoint(tmp_path).origin == str(tmp_path / "ckpt-5")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "gone-7"')
    assert read_checkpoint(tmp_path).origin == str(tmp_path / "ckpt-9")


def test_bfloat16(arrays: Arrays, tmp_path: Path) -> None:
    module = tree(arrays)
    depthwise = module.backbone
    for name in PATH.split("/")[1:-1]:
        depthwise = getattr(depthwise, name)
    depthwise.depthwise_kernel = tf.Variable(tf.cast(arrays[PATH], tf.bfloat16))
    tf.train.Checkpoint(model=module).write(str(tmp_path / "ckpt"))
    found = read_checkpoint(tmp_path / "ckpt")(PATH, SHAPE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, arrays[PATH], rtol=2**-8)


def with_averages(arrays: Arrays, prefix: Path, averaged: int | None = None) -> Path:
    """A trainer's checkpoint: an optimizer has momenta of all trained variables, and of the first so many an average.

    The averages are one more than the values. Slots stand in the object graph alone, as Keras writes them.
    """
    trained = [path for path in arrays if "moving_" not in path]
    slots = [("average", path) for path in trained[:averaged]] + [("momentum", path) for path in trained]
    optimizer = tf.Module()
    for i, (slot, path) in enumerate(slots):
        setattr(optimizer, f"slot{i}", tf.Variable(arrays[path] + (slot == "average")))
    tf.train.Checkpoint(model=tree(arrays), optimizer=optimizer).write(str(prefix))
    reader = tf.train.load_checkpoint(str(prefix))
    values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    graph = TrackableObjectGraph.FromString(values.pop(OBJECT_GRAPH))
    nodes = {a.checkpoint_key.partition("/.A")[0]: i for i, node in enumerate(graph.nodes) for a in node.attributes}
    for i, (slot, path) in enumerate(slots):
        place = graph.nodes[0].slot_variables.add(slot_name=slot)
        place.original_variable_node_id, place.slot_variable_node_id = (
            nodes[f"model/{path}"],
            nodes[f"optimizer/slot{i}"],
        )
    values[OBJECT_GRAPH] = graph.SerializeToString()
    tensors = [tf.constant(value) for value in values.values()]
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=[*values], shape_and_slices=[""] * len(values), tensors=tensors)
    return prefix


@pytest.mark.parametrize(
    ("name", "averages", "added", "kind"),
    [
        ("ckpt-7", "auto", 1, "its moving averages"),
        ("ckpt-7", "ema", 1, "its moving averages"),
        ("ckpt-7", "raw", 0, "its raw weights"),
        ("average_weights-7", "auto", 0, "its moving averages"),
        ("best_ckpt-7", "ema", 0, "its moving averages"),
        ("best_ckpt-7", "raw", 1, "its raw weights"),
    ],
)
def test_moving_averages(name: str, averages: Any, added: int, kind: str, arrays: Arrays, tmp_path: Path) -> None:
    """In the checkpoints that hold averages for export, variables and slots have changed places."""
    weights = read_checkpoint(with_averages(arrays, tmp_path / name), averages)
    np.testing.assert_array_equal(weights(PATH, SHAPE), arrays[PATH] + added)
    statistics = next(path for path in arrays if path.endswith("moving_mean"))
    np.testing.assert_array_equal(weights(statistics, arrays[statistics].shape), arrays[statistics])
    assert weights.kind == kind


def test_averages_of_a_part_are_not_mixed_with_raw_weights(arrays: Arrays, tmp_path: Path) -> None:
    prefix = with_averages(arrays, tmp_path / "ckpt-7", averaged=5)
    weights = read_checkpoint(prefix)
    assert weights.kind == "its raw weights; averages are stored of 5 variables only"
    first = next(iter(arrays))
    np.testing.assert_array_equal(weights(first, arrays[first].shape), arrays[first])
    with pytest.raises(
        MaskConverError, match=r"holds moving averages of 5 variables and not of .*; take --weights raw"
    ):
        read_checkpoint(prefix, "ema")


def test_averages_that_are_not_there(checkpoint: Path, tmp_path: Path) -> None:
    assert read_checkpoint(checkpoint).kind == ""
    with pytest.raises(MaskConverError, match="holds no moving averages; leave --weights ema away"):
        read_checkpoint(checkpoint, "ema")
