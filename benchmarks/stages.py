"""The whole way from an image file to segments, stage by stage.

    python -m maskconver_mobile.benchmarks.stages model.tflite THREADS RUNS [photo.jpg]

Runs in a process of its own, so that the memory it reports is that of one model.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import maskconver_mobile
from maskconver_mobile.benchmarks.process import module_command
from maskconver_mobile.benchmarks.stats import Statistics, summarize
from maskconver_mobile.errors import MaskConverError

STAGES = ("decode", "preprocess", "invoke", "merge")
TIMEOUT_S = 1800
PHOTO = Path(maskconver_mobile.__file__).parent / "demo" / "astronaut.jpg"


def measure_stages(
    model: Path, threads: int, runs: int, image: Path | None = None
) -> tuple[dict[str, Statistics], int]:
    """Time each stage of `Segmenter.segment`, and the largest resident memory in KiB of the process that did it.

    Args:
        model: a model file of ours.
        threads: threads of the runtime.
        runs: how often, after two runs of warm-up.
        image: a photograph; the bundled one if not given.

    Raises:
        MaskConverError: the model or the image cannot be read.
    """
    command = module_command(__name__, str(model), str(threads), str(runs))
    command += [] if image is None else [str(image)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise MaskConverError(f"{model}: its stages took more than {TIMEOUT_S} s; ask for fewer runs") from error
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise MaskConverError(f"{model}: its stages cannot be measured: {last[0]}")
    answer = json.loads(done.stdout)
    return {stage: summarize(samples) for stage, samples in answer["samples_ms"].items()}, answer["peak_rss_kib"]


def _run(model: str, threads: int, runs: int, image: Path) -> dict[str, Any]:
    from maskconver_mobile.benchmarks.worker import peak_rss_kib
    from maskconver_mobile.segmenter import Segmenter

    segmenter = Segmenter(model, num_threads=threads)
    for _ in range(2):
        segmenter.segment(image)
    timings = [segmenter.segment(image).timings_ms for _ in range(runs)]
    return {
        "samples_ms": {stage: [timing[stage] for timing in timings] for stage in STAGES},
        "peak_rss_kib": peak_rss_kib(),
    }


def main() -> None:
    """Measure what the command line names and print JSON; a mistake of the user is one line and exit code 2."""
    model, threads, runs, *photo = sys.argv[1:]
    try:
        print(json.dumps(_run(model, int(threads), int(runs), Path(photo[0]) if photo else PHOTO)))
    except MaskConverError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
