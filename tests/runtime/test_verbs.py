"""The verbs as functions of the package."""

import subprocess
import sys
from pathlib import Path

import pytest
from models import TINY, Models

import maskconver_mobile
from maskconver_mobile import MaskConverError, extras
from maskconver_mobile.segmenter import DEFAULT_MODEL

PHOTO = DEFAULT_MODEL.with_name("astronaut.jpg")


def test_every_name_is_there_and_said_to_be() -> None:
    for name in maskconver_mobile.__all__:
        assert getattr(maskconver_mobile, name) is not None
        assert name in dir(maskconver_mobile)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        maskconver_mobile.nonsense  # noqa: B018


def test_names_cost_nothing_before_they_are_used(tmp_path: Path) -> None:
    code = (
        "import sys, maskconver_mobile as m; dir(m); m.convert; m.quantize; m.evaluate; m.MaskConverError\n"
        "heavy = {'tensorflow', 'numpy', 'cv2', 'PIL', 'ai_edge_litert', 'onnxruntime', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_from_a_checkpoint_to_a_comparison(tmp_path: Path) -> None:
    model, small = str(tmp_path / "tiny.tflite"), tmp_path / "small.tflite"
    card = maskconver_mobile.convert(
        TINY / "config.yaml", str(TINY), model, spec=maskconver_mobile.GraphSpec("panoptic")
    )
    assert maskconver_mobile.inspect(model).card == card
    assert card.level == "panoptic"
    steps: list[None] = []
    maskconver_mobile.quantize(model, small, "float16", on_step=lambda: steps.append(None))
    with maskconver_mobile.Segmenter(model) as first:
        found = maskconver_mobile.compare(first, small, PHOTO, stable=False, on_image=lambda: steps.append(None))
    assert found.agreement > 0.99
    assert steps


def test_a_model_is_not_written_over_itself(models: Models, tmp_path: Path) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(models.get().read_bytes())
    link = tmp_path / "link.tflite"
    link.symlink_to(model)
    with pytest.raises(MaskConverError, match=r"link\.tflite: is the same file as .*; give another file to write"):
        maskconver_mobile.quantize(model, link, "float16")
    assert model.read_bytes() == models.get().read_bytes()


def test_benchmark_gives_a_report(models: Models, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    options = maskconver_mobile.HostOptions(threads=(1,), runs=1, warmup=0, photos=(PHOTO,))
    report = maskconver_mobile.benchmark(models.get(), options, progress=lambda *step: steps.append(step))
    assert [result.threads for result in report.results] == [1]
    assert (report.complete, bool(steps)) == (True, True)
    report.save(tmp_path / "benchmark.json")


def test_what_is_not_installed_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(MaskConverError) as error:
        maskconver_mobile.convert("c.yaml", "ckpt", tmp_path / "x.tflite")
    assert str(error.value) == (
        "converting needs TensorFlow and PyYAML; run `pip install 'maskconver-mobile[convert]'`"
    )
    with pytest.raises(MaskConverError, match=r"quantizing needs .*\[quantize\]"):
        maskconver_mobile.quantize("m.tflite", tmp_path / "x.tflite")
