"""What the host is and how busy it is, as far as it tells."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

PACKAGES = ("maskconver-mobile", "ai-edge-litert", "onnxruntime", "numpy", "opencv-python-headless", "Pillow")


def record() -> dict[str, Any]:
    """Processor, cores, governor, load, memory, system and library versions; keys that cannot be read are left out."""
    found = {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "memory_kib": _memory_kib(),
        "system": platform.platform(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }
    return {key: value for key, value in found.items() if value}


def busy_warning(environment: dict[str, Any]) -> tuple[str, ...]:
    """A warning where other programs keep the cores busy, from a record taken before the benchmark."""
    load = environment.get("load_average", [0.0])[0]
    cores = environment.get("usable_cores", 1)
    if load <= cores / 4:
        return ()
    return (f"the machine was busy before the benchmark: load average {load:.2f} on {cores} cores",)


def _cpu_model() -> str:
    lines = _read("/proc/cpuinfo").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.lower().startswith(("model name", "hardware"))]
    return names[0] if names else platform.processor()


def _memory_kib() -> int | None:
    lines = _read("/proc/meminfo").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("MemTotal")), None)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
