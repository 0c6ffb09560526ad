"""The one part of the package that is compiled: loops for the processor. All else is in pyproject.toml.

Where there is no C compiler the build goes on without it (`optional`), and elman runs on PyTorch's own operations.
"""

import platform
import sys

from setuptools import Extension, setup

COMPILE: dict[str, list[str]] = {
    "linux": [
        "-O3",
        "-std=c11",
        "-fopenmp",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fno-signed-zeros",
        "-fassociative-math",
        "-ffinite-math-only",
    ],
    "darwin": ["-O3", "-std=c11", "-fno-math-errno"],
    "win32": ["/O2", "/openmp"],
}
if platform.machine() == "x86_64":
    COMPILE["linux"].append("-mprefer-vector-width=512")
LINK: dict[str, list[str]] = {"linux": ["-fopenmp", "-lm"]}

setup(
    ext_modules=[
        Extension(
            "elman.network._kernels",
            ["src/elman/network/_kernels.c"],
            depends=[
                f"src/elman/network/_{part}.h"
                for part in ("step", "recurrence", "gates", "features", "bases", "base_coder")
            ],
            extra_compile_args=COMPILE.get(sys.platform, ["-O2"]),
            extra_link_args=LINK.get(sys.platform, []),
            optional=True,
        )
    ]
)
