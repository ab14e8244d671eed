"""Imported in a worker process before numpy: threads make fits of a few hundred numbers twenty times slower."""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
