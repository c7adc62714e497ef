"""The whole way from image files to segments, stage by stage.

    python -m maskconver_mobile.benchmarks.host.stages model.tflite THREADS RUNS photo.jpg...

Runs in a process of its own, as every model under measurement does.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maskconver_mobile.benchmarks.host.process import module_command
from maskconver_mobile.benchmarks.report.stats import Statistics, summarize
from maskconver_mobile.errors import MaskConverError

STAGES = ("decode", "preprocess", "invoke", "merge")
TIMEOUT_S = 1800


@dataclass(frozen=True)
class StageTimes:
    """What `measure_stages` found.

    Attributes:
        stages: milliseconds of each stage, over all runs of all photographs.
        photos: median milliseconds of each stage, for every photograph in the order given.
    """

    stages: dict[str, Statistics]
    photos: tuple[dict[str, float], ...]


def measure_stages(model: Path, threads: int, runs: int, photos: Sequence[Path]) -> StageTimes:
    """Time each stage of `Segmenter.segment`.

    Args:
        model: a model file of ours.
        threads: threads of the runtime.
        runs: how often at least, after two runs of warm-up; the photographs take turns, each equally often.
        photos: image files.

    Raises:
        MaskConverError: the model or an image cannot be read.
    """
    command = module_command(__name__, str(model), str(threads), str(runs), *map(str, photos))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise MaskConverError(f"{model}: its stages took more than {TIMEOUT_S} s; ask for fewer runs") from error
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise MaskConverError(f"{model}: its stages cannot be measured: {last[0]}")
    samples = json.loads(done.stdout)
    return StageTimes(
        {stage: summarize(samples[stage]) for stage in STAGES},
        tuple({s: float(np.median(samples[s][i :: len(photos)])) for s in STAGES} for i in range(len(photos))),
    )


def _run(model: str, threads: int, runs: int, photos: Sequence[str]) -> dict[str, Any]:
    from maskconver_mobile.segmenter import Segmenter

    segmenter = Segmenter(model, num_threads=threads)
    for _ in range(2):
        segmenter.segment(photos[0])
    passes = -(-runs // len(photos))
    timings = [segmenter.segment(photo).timings_ms for _ in range(passes) for photo in photos]
    return {stage: [timing[stage] for timing in timings] for stage in STAGES}


def main() -> None:
    """Measure what the command line names and print JSON; a mistake of the user is one line and exit code 2."""
    model, threads, runs, *photos = sys.argv[1:]
    try:
        print(json.dumps(_run(model, int(threads), int(runs), photos)))
    except MaskConverError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
