"""OpenBLAS' sgemm through ctypes: C = A*B in single precision, row-major.

Needs: the system's libopenblas (Debian: libopenblas0-pthread); no Python package.
Usage: openblas_matmul.py MxNxK[,ta][,tb] ...    `ta`: A is stored transposed, as [k, m].
Prints one JSON object; of each shape, the best of several rounds of repetitions.
"""

import array
import ctypes
import ctypes.util
import json
import random
import sys
import time

ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE = 101, 111, 112
ROUNDS = 7
SECONDS_PER_ROUND = 0.1


def library():
    for name in ("libopenblas.so.0", ctypes.util.find_library("openblas")):
        if name:
            try:
                return ctypes.CDLL(name)
            except OSError:
                pass
    sys.exit("openblas_matmul.py: there is no libopenblas; on Debian: libopenblas0-pthread")


blas = library()
blas.openblas_get_config.restype = ctypes.c_char_p
blas.cblas_sgemm.argtypes = (
    [ctypes.c_int] * 6
    + [ctypes.c_float, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
    + [ctypes.c_float, ctypes.c_void_p, ctypes.c_int]
)


def matrix(count):
    """Values in [-0.5, 0.5), so that none is denormal."""
    pattern = array.array("f", (random.random() - 0.5 for _ in range(4099)))
    return (pattern * (count // len(pattern) + 1))[:count]


def measure(m, n, k, transpose_a, transpose_b):
    a, b, c = matrix(m * k), matrix(k * n), matrix(m * n)
    call = (
        ROW_MAJOR, TRANSPOSE if transpose_a else NO_TRANSPOSE,
        TRANSPOSE if transpose_b else NO_TRANSPOSE, m, n, k,
        1.0, a.buffer_info()[0], m if transpose_a else k,
        b.buffer_info()[0], k if transpose_b else n,
        0.0, c.buffer_info()[0], n,
    )
    blas.cblas_sgemm(*call)
    start = time.perf_counter()
    blas.cblas_sgemm(*call)
    repetitions = max(3, int(SECONDS_PER_ROUND / (time.perf_counter() - start)))
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(repetitions):
            blas.cblas_sgemm(*call)
        best = min(best, (time.perf_counter() - start) / repetitions)
    return {
        "m": m, "n": n, "k": k, "transpose_a": transpose_a, "transpose_b": transpose_b,
        "gflops": 2 * m * n * k / best / 1e9, "milliseconds": best * 1e3,
    }


results = []
for argument in sys.argv[1:]:
    shape, *flags = argument.split(",")
    m, n, k = map(int, shape.split("x"))
    results.append(measure(m, n, k, "ta" in flags, "tb" in flags))
print(json.dumps({"system": blas.openblas_get_config().decode(), "results": results}))
