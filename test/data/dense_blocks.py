"""Writes dense_blocks.json: random blocks of dense encodings as gguf-py (the `gguf` package) reads them.

Run: `pip install gguf==0.19.0 && python test/data/dense_blocks.py > test/data/dense_blocks.json`
"""

import json
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

SHAPE = (2, 512)


def main() -> None:
    """Bytes are random except the f16 scale, which must be a number."""
    random = np.random.default_rng(1)
    vectors = {}
    for name, scale_at in (("q8_0", 0), ("q4_0", 0), ("q6_k", 208)):
        kind = GGMLQuantizationType[name.upper()]
        values, size = GGML_QUANT_SIZES[kind]
        blocks = random.integers(0, 256, (SHAPE[0], SHAPE[1] // values, size), dtype=np.uint8)
        scales = random.normal(0, 0.05, blocks.shape[:2]).astype(np.float16)
        blocks[..., scale_at : scale_at + 2] = scales[..., None].view(np.uint8)
        data = blocks.reshape(SHAPE[0], -1)
        decoded = quants.dequantize(data, kind).astype("<f4")
        vectors[name] = {
            "shape": SHAPE,
            "bytes_hex": data.tobytes().hex(),
            "decoded_f32_hex": decoded.tobytes().hex(),
        }
    json.dump(vectors, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
