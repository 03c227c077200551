"""Run tests as other processors would round: python tests/other_processor.py [arguments of pytest].

Three things choose their instructions by the processor, and may be told to choose others: OpenBLAS its kernels
(OPENBLAS_CORETYPE), NumPy its loops (NPY_DISABLE_CPU_FEATURES: complex products, exp, tan), glibc its functions
(GLIBC_TUNABLES). tests/theory/arithmetic/test_processor.py runs along and says whether NumPy and SciPy obeyed.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time

import numpy as np
import scipy.linalg  # noqa: F401  (loads SciPy's own OpenBLAS)
import threadpoolctl

NAMES = {"Prescott": {"Prescott", "Katmai"}}
"""What threadpoolctl calls a kernel where that is not the name by which it is asked for."""

X86 = ("Haswell", "SkylakeX", "Prescott")
"""Kernels of x86 from the most common; the last only where the machine's own is the only other one."""

ARM = ("ARMV8",)

NEEDS = {"Haswell": "AVX2", "SkylakeX": "AVX512F"}
"""Feature without which a kernel ends in an illegal instruction, as NumPy calls it."""


def kernels() -> dict[str, str | None]:
    """Kernel of every OpenBLAS that is loaded, by file."""
    libraries = threadpoolctl.threadpool_info()
    return {found["filepath"]: found["architecture"] for found in libraries if found["internal_api"] == "openblas"}


def features() -> list[str]:
    """Processor features beyond the least for which NumPy's loops have versions here, as its names for them."""
    core = np._core._multiarray_umath
    return [name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]]


def others() -> list[str]:
    """Kernels that this processor can run and does not run by itself."""
    own, has = {str(name).lower() for name in kernels().values()}, np._core._multiarray_umath.__cpu_features__
    names = X86 if platform.machine().lower() in ("x86_64", "amd64") else ARM
    able = [name for name in names if name not in NEEDS or has[NEEDS[name]]]
    found = [name for name in able if own.isdisjoint(known.lower() for known in NAMES.get(name, {name}))]
    return [name for name in found if name != "Prescott"] or found


def main(arguments: list[str]) -> int:
    if not kernels():
        print("NumPy and SciPy have no OpenBLAS here: nothing to choose")
        return 0
    for kernel in others():
        changes = {
            "OPENBLAS_CORETYPE": kernel,
            "NPY_DISABLE_CPU_FEATURES": " ".join(features()),
            "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F",
        }
        print(" ".join(f"{name}='{value}'" for name, value in changes.items()), flush=True)
        start = time.perf_counter()
        code = subprocess.call([sys.executable, "-m", "pytest", *arguments], env=os.environ | changes)
        print(f"{kernel}: {time.perf_counter() - start:.0f} s", flush=True)
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
