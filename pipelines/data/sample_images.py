"""A small real data set of images, out of a package that is here anyway."""

from __future__ import annotations

import json


def digits() -> dict[str, bytes]:
    """1,797 handwritten digits of 8 by 8 pixels, from scikit-learn (UCI, E. Alpaydin and C. Kaynak): JSON lines."""
    from sklearn.datasets import load_digits

    found = load_digits()
    # 0 to 16 there, 0 to 255 here.
    lines = [
        json.dumps({"image": (image * 255 / 16).round().astype(int).tolist(), "label": str(label)}) + "\n"
        for image, label in zip(found.images, found.target, strict=True)
    ]
    return {
        "train.jsonl": "".join(lines[360:]).encode(),
        "dev.jsonl": "".join(lines[:180]).encode(),
        "test.jsonl": "".join(lines[180:360]).encode(),
    }
