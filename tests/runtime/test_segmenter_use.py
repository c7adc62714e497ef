"""A segmenter as its users handle it: called, closed, pickled, forked, fed with frames."""

import io
import os
import pickle
import signal
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from maskconver_mobile import MaskConverError, Segmenter, segment
from maskconver_mobile.segmenter import DEFAULT_MODEL

PHOTO = DEFAULT_MODEL.with_name("astronaut.jpg")


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(num_threads=2)


def test_a_frame_of_opencv_is_the_picture_that_it_shows(segmenter: Segmenter, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.open(PHOTO).save(path)
    expected = segmenter(path)
    frame = cv2.imread(str(path))
    assert frame is not None
    found = segmenter(frame, color="bgr")
    np.testing.assert_array_equal(found.panoptic_map, expected.panoptic_map)
    np.testing.assert_array_equal(found.image, expected.image)
    np.testing.assert_array_equal(segment(frame, color="bgr").panoptic_map, expected.panoptic_map)
    assert (segmenter(frame).category_map != expected.category_map).mean() > 0.05
    transparent = cv2.cvtColor(frame, cv2.COLOR_BGR2BGRA)
    np.testing.assert_array_equal(segmenter(transparent, color="bgr").image, expected.image)
    np.testing.assert_array_equal(segmenter(path, color="bgr").panoptic_map, expected.panoptic_map)


def test_an_order_that_cannot_be(segmenter: Segmenter) -> None:
    with pytest.raises(MaskConverError, match=r"^color is 'BGR'; expected 'rgb', or 'bgr' for OpenCV's arrays$"):
        segmenter(np.zeros((4, 4, 3), np.uint8), color="BGR")  # type: ignore[arg-type]


def test_sources_that_read_as_files(segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    content = PHOTO.read_bytes()
    expected = segmenter(PHOTO).panoptic_map
    monkeypatch.setenv("HOME", str(PHOTO.parent))
    with PHOTO.open("rb") as file:
        sources: list[Any] = [file, io.BytesIO(content), bytearray(content), memoryview(content), "~/astronaut.jpg"]
        for source in sources:
            np.testing.assert_array_equal(segmenter(source).panoptic_map, expected)
    assert repr(Segmenter(f"~/{DEFAULT_MODEL.name}")).startswith(f"Segmenter('{DEFAULT_MODEL}': 256x256")
    with pytest.raises(MaskConverError, match=r"gives str; open it in binary mode"):
        segmenter(io.StringIO("text"))  # type: ignore[arg-type]


def test_thresholds_of_one_call(segmenter: Segmenter) -> None:
    before = segmenter(PHOTO).segments
    strict = segmenter(PHOTO, object_mask_threshold=0.2)
    assert strict.segments == Segmenter(object_mask_threshold=0.2)(PHOTO).segments != before
    assert segmenter(PHOTO).segments == before
    assert not segmenter(PHOTO, small_area_threshold=1e9)
    assert Segmenter(small_area_threshold=1e9)(PHOTO, small_area_threshold=0).segments
    with pytest.raises(MaskConverError, match="overlap_threshold is 7; expected a number from 0 to 1"):
        segmenter(PHOTO, overlap_threshold=7)


def test_a_batch_is_its_images_one_by_one(segmenter: Segmenter) -> None:
    images = [PHOTO, np.asarray(Image.open(PHOTO))[:, ::-1]]
    found = segmenter.segment_batch(iter(images))
    assert [r.segments for r in found] == [segmenter(i).segments for i in images]


def test_what_it_says_of_itself(segmenter: Segmenter) -> None:
    assert repr(segmenter).endswith("maskconver_256_demo.tflite': 256x256 pixels, level masks, float16)")
    assert (segmenter.labels[1], segmenter.labels[200]) == ("person", "rug-merged")
    assert len(segmenter.labels) == len(segmenter.card.categories)
    segmenter.warmup(2)


def test_closed_it_says_so() -> None:
    with Segmenter(num_threads=1) as segmenter:
        assert segmenter(PHOTO).segments
    with pytest.raises(MaskConverError, match=r"maskconver_256_demo\.tflite: the model was closed; load it again"):
        segmenter(PHOTO)
    segmenter.close()


def test_pickled_it_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(DEFAULT_MODEL.read_bytes())
    monkeypatch.chdir(tmp_path)
    first = Segmenter("m.tflite", num_threads=1, object_mask_threshold=0.2)
    content = pickle.dumps(first)
    monkeypatch.chdir("/")
    again = pickle.loads(content)  # noqa: S301
    assert again(PHOTO).segments == first(PHOTO).segments
    model.unlink()
    with pytest.raises(MaskConverError, match="no such model file"):
        pickle.loads(content)  # noqa: S301


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_the_child_of_a_busy_parent_goes_on(segmenter: Segmenter) -> None:
    """Neither waits for a lock that a thread of the parent holds, nor for threads that only the parent has."""
    expected = segmenter(PHOTO).segments
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            segmenter(PHOTO)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(6):
            child = os.fork()
            if child == 0:
                signal.alarm(60)
                code = 1
                try:
                    code = 0 if segmenter(PHOTO).segments == expected else 3
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()
