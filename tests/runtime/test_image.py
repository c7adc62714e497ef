import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pngs import png_header
from reference_merge import resize

from maskconver_mobile.card import ModelCard
from maskconver_mobile.errors import MaskConverError
from maskconver_mobile.inference import image as image_module
from maskconver_mobile.inference.image import ImageSource, Letterbox, load_image, preprocess, restore
from maskconver_mobile.inference.image_file import MAX_PIXELS

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


# Every kind of source


def test_path_bytes_pil_and_array_are_the_same(tmp_path: Path) -> None:
    picture = Image.fromarray(PIXELS)
    path = tmp_path / "photo.png"
    picture.save(path)
    sources: list[ImageSource] = [path, str(path), path.read_bytes(), picture, Image.open(path), PIXELS]
    for source in sources:
        loaded = load_image(source)
        assert loaded.dtype == np.uint8
        assert loaded.flags.c_contiguous
        assert np.array_equal(loaded, PIXELS)


def test_an_array_is_copied() -> None:
    frame = PIXELS.copy()
    loaded = load_image(frame)
    frame[:] = 0
    assert np.array_equal(loaded, PIXELS)


def test_a_view_of_an_array() -> None:
    assert np.array_equal(load_image(PIXELS[::-1, ::2]), PIXELS[::-1, ::2])


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "MPO"])
def test_other_formats(format: str) -> None:
    flat = np.full((8, 10, 3), 90, np.uint8)
    assert np.abs(load_image(encode(Image.fromarray(flat), format)).astype(int) - 90).max() <= 2


# Every kind of pixel


def test_grey_arrays() -> None:
    grey = PIXELS[:, :, 0]
    expected = np.stack([grey] * 3, axis=-1)
    assert np.array_equal(load_image(grey), expected)
    assert np.array_equal(load_image(grey[:, :, None]), expected)
    assert np.array_equal(load_image(encode(Image.fromarray(grey))), expected)


def test_transparency_lies_over_white() -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, :3] = 100, 0, 50
    rgba[0, :, 3] = 0, 255, 128
    expected = [[255, 255, 255], [100, 0, 50], [177, 127, 152]]
    assert load_image(rgba)[0].tolist() == expected
    assert load_image(encode(Image.fromarray(rgba)))[0].tolist() == expected


def test_grey_with_alpha() -> None:
    picture = Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8), "LA")
    assert load_image(encode(picture))[0].tolist() == [[10] * 3, [255] * 3]


def test_palette_and_its_transparent_color() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    assert load_image(encode(picture))[0].tolist() == [[255, 0, 0], [0, 0, 255]]
    assert load_image(encode(picture, transparency=1))[0].tolist() == [[255, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled(format: str) -> None:
    values = np.array([[0, 128, 129, 257, 0x8080, 0xFFFF]], np.uint16)
    picture = load_image(encode(Image.fromarray(values), format))
    assert picture[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]
    assert (picture == picture[:, :, :1]).all()


def test_wide_grey_of_16_bit_values_is_scaled() -> None:
    picture = Image.fromarray(np.array([[0, 0xFFFF]], np.int32))
    assert picture.mode == "I"
    assert load_image(picture)[0, :, 0].tolist() == [0, 255]


def test_one_bit() -> None:
    picture = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert load_image(encode(picture))[0].tolist() == [[0] * 3, [255] * 3]


def test_cmyk() -> None:
    picture = load_image(encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"))
    assert picture[0, 0].tolist() == [255, 0, 0]


def test_the_first_frame_of_an_animation() -> None:
    red, blue = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    assert load_image(encode(red, "GIF", save_all=True, append_images=[blue]))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, tmp_path: Path) -> None:
    upright = np.arange(6 * 4, dtype=np.uint8).reshape(4, 6).repeat(3).reshape(4, 6, 3)
    stored: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.png"
    Image.fromarray(np.ascontiguousarray(stored[orientation](upright))).save(path, exif=exif)
    for source in (path, path.read_bytes(), Image.open(path)):
        assert np.array_equal(load_image(source), upright)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("exif", [b"Exif\x00\x00garbage", b"Exif\x00\x00II*\x00\xff\xff\xff\xff"])
def test_damaged_exif_does_not_matter(exif: bytes) -> None:
    photo = encode(Image.fromarray(PIXELS), "JPEG", exif=exif)
    assert load_image(photo).shape == PIXELS.shape


# Bad input


def refused(source: Any) -> str:
    with pytest.raises(MaskConverError) as error:
        load_image(source)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "no.jpg") == f"{tmp_path / 'no.jpg'}: no such image file"
    assert refused(str(tmp_path)) == f"{tmp_path}: is a folder; expected an image file"
    assert "no such image file" in refused("null\0byte.jpg")
    assert "no such image file" in refused("x" * 5000)


@pytest.mark.parametrize("content", [b"", b"hello\n" * 50, b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    assert refused(path).startswith(f"{path}: ")
    assert refused(content).startswith(f"image of {len(content)} bytes: ")


def test_text_as_image(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_text("not a photo")
    assert refused(path) == f"{path}: is no image of a known format; expected JPEG, PNG, WebP, TIFF, BMP or GIF"


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP"])
def test_truncated_files(tmp_path: Path, format: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    content = encode(Image.fromarray(noise), format)
    path = tmp_path / "photo"
    path.write_bytes(content[: len(content) * 2 // 3])
    assert refused(path).startswith(f"{path}: ")


@pytest.mark.parametrize("size", [(8001, 8000), (10_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
@pytest.mark.filterwarnings("error")
def test_decompression_bomb(size: tuple[int, int]) -> None:
    assert "has over 64 million pixels" in refused(png_header(*size))


def test_a_large_pil_image_is_refused_before_decoding() -> None:
    assert "has over 64 million pixels" in refused(Image.open(io.BytesIO(png_header(8001, 8000))))


def test_no_pixels() -> None:
    assert refused(np.zeros((0, 5, 3), np.uint8)) == (
        "image array [0, 5, 3] has no pixels; expected uint8 [h, w, 3] RGB, [h, w] grey or [h, w, 4] RGBA"
    )
    assert "has no pixels (0x4)" in refused(Image.new("RGB", (0, 4)))
    assert refused(png_header(0, 3)).startswith("image of ")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_float_arrays_say_what_to_do(dtype: type) -> None:
    message = refused(np.zeros((4, 5, 3), dtype))
    assert message.startswith(f"image array is {np.dtype(dtype)} [4, 5, 3]; expected uint8")
    assert message.endswith("multiply values in 0..1 by 255 and round")


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.bool_, object, "S3"])
def test_other_dtypes(dtype: Any) -> None:
    assert "expected uint8 [h, w, 3]" in refused(np.zeros((4, 5, 3), dtype))


@pytest.mark.parametrize("shape", [(), (5,), (4, 5, 2), (4, 5, 5), (4, 5, 0), (1, 4, 5, 3), (3, 4, 5)])
def test_wrong_ranks_and_channels(shape: tuple[int, ...]) -> None:
    assert f"image array is uint8 {list(shape)}; expected uint8" in refused(np.zeros(shape, np.uint8))


def test_float_and_wide_pil_images() -> None:
    assert "floating-point pixels" in refused(Image.new("F", (3, 3)))
    assert "beyond 16 bits" in refused(Image.fromarray(np.array([[70_000]], np.int32)))
    assert "beyond 16 bits" in refused(Image.fromarray(np.array([[-1]], np.int32)))


@pytest.mark.parametrize("source", [None, 3, [[1, 2], [3, 4]], object()])
def test_other_types(source: object) -> None:
    assert "expected a path, bytes, a file object, a PIL image or a uint8 array" in refused(source)


def test_arrays_saved_with_numpy_are_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS)
    assert "is no image of a known format" in refused(tmp_path / "a.npy")


# Letterbox


@pytest.mark.parametrize(
    ("image_size", "canvas", "scaled", "extent"),
    [
        ((480, 640), (256, 256), (192, 256), (640, 640)),
        ((640, 427), (256, 256), (256, 171), (640, 640)),
        ((333, 640), (256, 256), (133, 256), (641, 640)),
        ((100, 100), (64, 128), (64, 64), (100, 200)),
        ((1, 10_000), (256, 256), (1, 256), (256, 10_000)),
        ((10_000, 1), (96, 128), (96, 1), (10_000, 128)),
        ((1, 1), (256, 256), (256, 256), (1, 1)),
    ],
)
def test_letterbox(
    image_size: tuple[int, int], canvas: tuple[int, int], scaled: tuple[int, int], extent: tuple[int, int]
) -> None:
    letterbox = Letterbox.fit(image_size, canvas)
    assert letterbox == Letterbox(image_size, canvas, scaled)
    assert letterbox.extent == extent
    info = letterbox.image_info
    assert info.dtype == np.float32
    assert info[:2].tolist() == [list(image_size), list(canvas)]
    assert np.allclose(info[2], np.array(scaled) / image_size)
    assert not info[3].any()


def test_half_a_pixel_is_rounded_to_even() -> None:
    assert Letterbox.fit((5, 4), (2, 2)).scaled_size == (2, 2)
    assert Letterbox.fit((10, 4), (5, 5)).scaled_size == (5, 2)
    assert Letterbox.fit((3, 6), (3, 3)).scaled_size == (2, 3)
    assert Letterbox.fit((5, 10), (5, 5)).scaled_size == (2, 5)


# Preprocessing

CARD = ModelCard(
    name="model",
    level="masks",
    target="cpu",
    recipe="float32",
    input_size=(32, 40),
    input_type="float32",
    mean=MEAN,
    std=STD,
    output_size=(64, 64),
    num_instances=5,
    num_classes=4,
    object_mask_threshold=0.01,
    overlap_threshold=0.7,
    small_area_threshold=256,
    hard_sigmoid=False,
    categories=(),
)


@pytest.mark.parametrize("size", [(6, 9), (64, 80), (33, 20), (100, 31), (90, 200)])
def test_float_input(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)
    tensor, letterbox = preprocess(picture, CARD)
    assert tensor.dtype == np.float32
    assert tensor.shape == (1, 32, 40, 3)
    height, width = letterbox.scaled_size
    mean, std = np.array([MEAN, STD], np.float32)
    normal: NDArray[np.float32] = (picture - mean) / std
    assert np.abs(tensor[0, :height, :width] - resize(normal, letterbox.scaled_size)).max() < 1e-3
    assert not tensor[0, height:].any()
    assert not tensor[0, :, width:].any()


@pytest.mark.parametrize("size", [(6, 9), (64, 80), (33, 20), (100, 31), (90, 200)])
def test_uint8_input(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (*size, 3), np.uint8)
    tensor, letterbox = preprocess(picture, replace(CARD, input_type="uint8"))
    assert tensor.dtype == np.uint8
    assert tensor.shape == (1, 32, 40, 3)
    height, width = letterbox.scaled_size
    error = tensor[0, :height, :width] - resize(picture.astype(np.float32), letterbox.scaled_size)
    assert np.abs(error).max() < 1
    assert abs(error.mean()) < 0.13  # halves are rounded up
    assert (tensor[0, height:] == [124, 116, 104]).all()
    assert (tensor[0, :, width:] == [124, 116, 104]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (40_000, 1)])
@pytest.mark.parametrize("input_type", ["uint8", "pixels", "float32"])
def test_extreme_shapes(size: tuple[int, int], input_type: Any) -> None:
    picture = np.full((*size, 3), 200, np.uint8)
    tensor, letterbox = preprocess(picture, replace(CARD, input_type=input_type))
    height, width = letterbox.scaled_size
    expected = (200 - np.array(MEAN)) / STD if input_type == "float32" else 200
    assert np.allclose(tensor[0, :height, :width], expected, atol=1e-3)
    assert restore(np.arange(32 * 40).reshape(32, 40), letterbox).shape == size


def test_preprocessing_equals_the_original(shared: Path) -> None:
    golden = shared / "golden" / "demo_256"
    with np.load(golden / "photos.npz") as photos, np.load(golden / "golden.npz") as arrays:
        for name, expected in zip(("astronaut", "chelsea", "coffee"), arrays["images"], strict=True):
            tensor, _ = preprocess(photos[f"{name}/image"], replace(CARD, input_size=(256, 256)))
            assert np.abs(tensor[0] - expected).max() < 1e-3


# The way back


@pytest.mark.parametrize("map_size", [(32, 40), (96, 120), (8, 10), (50, 30)])
@pytest.mark.parametrize("image_size", [(6, 9), (64, 80), (100, 31), (1, 500), (500, 1)])
def test_restore_takes_the_nearest_sample_of_the_image(map_size: tuple[int, int], image_size: tuple[int, int]) -> None:
    letterbox = Letterbox.fit(image_size, (32, 40))
    map_ = np.arange(map_size[0] * map_size[1], dtype=np.int32).reshape(map_size)
    restored = restore(map_, letterbox)
    assert restored.dtype == np.int32
    assert restored.shape == image_size
    for y in {0, image_size[0] // 3, image_size[0] - 1}:
        for x in {0, image_size[1] // 3, image_size[1] - 1}:
            row = (y + 0.5) * letterbox.scaled_size[0] / image_size[0] * map_size[0] / 32
            column = (x + 0.5) * letterbox.scaled_size[1] / image_size[1] * map_size[1] / 40
            assert restored[y, x] == map_[int(row + 1e-9), int(column + 1e-9)]


def test_restore_drops_the_padding() -> None:
    letterbox = Letterbox.fit((20, 40), (32, 32))
    map_ = np.zeros((64, 64), np.int32)
    map_[:32] = 7
    assert np.unique(restore(map_, letterbox)).tolist() == [7]


def test_restore_of_an_untouched_map_is_the_map() -> None:
    map_ = np.random.default_rng(0).integers(0, 9, (32, 40))
    assert np.array_equal(restore(map_, Letterbox.fit((32, 40), (32, 40))), map_)


def test_bound_is_what_errors_say() -> None:
    edge = MAX_PIXELS // 8000
    assert "has over 64 million pixels" in refused(Image.new("1", (edge + 1, 8000)))
    assert load_image(Image.new("1", (edge, 8000))).shape == (8000, edge, 3)


def test_pixels_may_be_written_to(tmp_path: Path) -> None:
    """As supervision's annotators do."""
    path = tmp_path / "a.png"
    Image.fromarray(PIXELS).save(path)
    for source in (path, path.read_bytes(), Image.fromarray(PIXELS), Image.fromarray(PIXELS).convert("P")):
        load_image(source)[0, 0] = 7


@pytest.mark.parametrize(
    ("size", "scaled"),
    [
        ((480, 640), (192, 256)),
        ((333, 500), (171, 256)),
        ((77, 100), (197, 256)),
        ((1, 5), (51, 256)),
        ((40, 40), (40, 40)),
    ],
)
def test_the_float_resize_is_tensorflows_to_the_bit(size: tuple[int, int], scaled: tuple[int, int]) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    expected = tensorflow.raw_ops.ResizeBilinear(
        images=picture[None].astype(np.float32), size=scaled, half_pixel_centers=True
    )
    found = image_module.resize(picture, scaled)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected[0])


def test_pixels_are_padded_with_the_mean_color() -> None:
    card = replace(CARD, input_type="pixels", input_size=(8, 8))
    tensor, letterbox = preprocess(np.full((4, 8, 3), 200, np.uint8), card)
    assert tensor.dtype == np.float32
    assert letterbox.scaled_size == (4, 8)
    np.testing.assert_array_equal(tensor[0, :4], np.float32(200))
    np.testing.assert_array_equal(tensor[0, 4:], np.broadcast_to(np.array(MEAN, np.float32), (4, 8, 3)))
