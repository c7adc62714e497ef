"""Files as phones and programs leave them: mended with a note, read in part, or refused with the way out."""

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from maskconver_mobile import MaskConverError, MaskConverWarning
from maskconver_mobile.inference import image_file
from maskconver_mobile.inference.image import load_image


@pytest.fixture
def inputs(data: Path) -> Path:
    return data / "inputs" / "images"


@pytest.fixture
def photo(inputs: Path) -> bytes:
    return (inputs / "plain.jpg").read_bytes()


def refused(source: Path | bytes) -> str:
    with pytest.raises(MaskConverError) as error:
        load_image(source)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("lacking", [1, 2, 3, 10])
def test_a_jpeg_without_its_end_is_read_with_a_note(photo: bytes, lacking: int) -> None:
    whole = load_image(photo)
    with pytest.warns(MaskConverWarning, match="lacks its last bytes; read without them") as notes:
        mended = load_image(photo[:-lacking])
    assert len(notes) == 1
    assert (mended != whole).any(axis=-1).mean() <= 1 / 50


def test_the_picture_of_a_phone(inputs: Path) -> None:
    with pytest.warns(MaskConverWarning, match=r"missing_2_bytes\.jpg: lacks its last bytes"):
        found = load_image(inputs / "missing_2_bytes.jpg")
    np.testing.assert_array_equal(found, load_image(inputs / "plain.jpg"))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("progressive", [False, True])
def test_half_a_picture_is_refused(photo: bytes, share: float, progressive: bool) -> None:
    stream = io.BytesIO()
    Image.open(io.BytesIO(photo)).save(stream, "JPEG", progressive=progressive, quality=90)
    content = stream.getvalue()
    assert "image file is truncated" in refused(content[: int(len(content) * share)])


def test_only_jpegs_are_mended(photo: bytes) -> None:
    stream = io.BytesIO()
    Image.open(io.BytesIO(photo)).save(stream, "PNG")
    assert "cannot be decoded" in refused(stream.getvalue()[:-40])


@pytest.mark.parametrize("name", ["web.jfif", "phone.mpo"])
def test_other_names_of_jpeg(inputs: Path, name: str) -> None:
    assert load_image(inputs / name).shape == (120, 160, 3)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif(inputs: Path) -> None:
    assert load_image(inputs / "new.avif").shape == (120, 160, 3)


def test_avif_needs_a_new_pillow(inputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_file.features, "check", lambda feature: False)
    assert "is an AVIF picture; run `pip install 'pillow>=11.3'`, or save it as JPEG" in refused(inputs / "new.avif")


@pytest.mark.parametrize("name", ["iphone.heic", "iphone_heic_named.jpg"])
def test_heic_names_the_extra(inputs: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the file is called."""
    monkeypatch.setattr(image_file, "find_spec", lambda module: None)
    message = refused(inputs / name)
    assert message.endswith(
        f"{name}: is an HEIC picture, whatever its name says; run `pip install 'maskconver-mobile[heif]'`, "
        "or save it as JPEG"
    )
    assert refused((inputs / name).read_bytes()).startswith("image of 232 bytes: is an HEIC picture")


def test_heic_is_read_upright(photo: bytes, tmp_path: Path) -> None:
    """The codec turns the picture, and EXIF says so once more; it is turned once."""
    pillow_heif = pytest.importorskip("pillow_heif")
    picture = Image.fromarray(load_image(photo))
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "photo.jpg"
    try:
        pillow_heif.from_pillow(picture).save(path, quality=95, exif=exif.tobytes())
    except (OSError, RuntimeError) as error:
        pytest.skip(f"this pillow-heif writes no HEIC ({error})")
    found = load_image(path)
    assert np.abs(found.astype(int) - np.rot90(np.asarray(picture), -1)).mean() < 6


def test_a_huge_jpeg_is_read_at_a_part_of_its_size(monkeypatch: pytest.MonkeyPatch, photo: bytes) -> None:
    """As the 108-megapixel pictures of phones; here the bound is small instead of the picture large."""
    monkeypatch.setattr(image_file, "MAX_PIXELS", 60 * 80)
    whole = np.asarray(Image.open(io.BytesIO(photo)).resize((80, 60), Image.Resampling.BOX)).astype(int)
    with pytest.warns(MaskConverWarning, match="read at 1/2 of its width and height"):
        found = load_image(photo)
    assert found.shape == (60, 80, 3)
    assert np.abs(found - whole).mean() < 2
    monkeypatch.setattr(image_file, "MAX_JPEG_PIXELS", 160 * 120 - 1)
    assert "million pixels; make it smaller first" in refused(photo)


def test_a_huge_progressive_jpeg_would_be_held_whole(monkeypatch: pytest.MonkeyPatch, photo: bytes) -> None:
    monkeypatch.setattr(image_file, "MAX_PIXELS", 60 * 80)
    stream = io.BytesIO()
    Image.open(io.BytesIO(photo)).save(stream, "JPEG", progressive=True)
    assert "million pixels; make it smaller first" in refused(stream.getvalue())


def test_a_jpeg_of_108_megapixels() -> None:
    stream = io.BytesIO()
    Image.new("L", (12_000, 9_000), 128).save(stream, "JPEG")
    with pytest.warns(MaskConverWarning, match="has 108 million pixels; read at 1/2 of its width and height"):
        found = load_image(stream.getvalue())
    assert found.shape == (4_500, 6_000, 3)
    assert np.abs(found.astype(int) - 128).max() <= 1


def test_what_is_whole_is_read_without_a_word(inputs: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_image(inputs / "plain.jpg")
