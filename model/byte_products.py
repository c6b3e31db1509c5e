"""Whether sums of products of bytes come out whole here: what a file with weights of 8 bits needs.

Processors with VNNI (Intel since 2019, AMD since Zen 4) or ARM's dot products add them in 32 bits. Older x86 ones add
two in 16 bits, and what does not fit is cut off: answers are then wrong, and nothing says so. Asked of onnxruntime
itself, by one product that does not fit.
"""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Final

import numpy as np

PROBE: Final = (
    "CAgSADp0ChgKAWEKAWISAWMiDU1hdE11bEludGVnZXISAWcqKwgICAQQA0IBYkogf39/f39/f39/f39/f39/f39/f39/f39/f39/"
    "f39/f39aEwoBYRIOCgwIAhIICgIIAQoCCAhiEwoBYxIOCgwIBhIICgIIAQoCCARCBAoAEA0="
)
"""An ONNX file: uint8 (1, 8), times int8 (8, 4) of 127 each -> int32 (1, 4)."""


@lru_cache(maxsize=1)
def come_out_whole() -> bool:
    """Whether onnxruntime's CPU kernels say what 8 * 255 * 127 is."""
    import onnxruntime

    session = onnxruntime.InferenceSession(base64.b64decode(PROBE), providers=["CPUExecutionProvider"])
    (told,) = session.run(None, {"a": np.full((1, 8), 255, np.uint8)})
    return bool((told == 8 * 255 * 127).all())
