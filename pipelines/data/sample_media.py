"""Small data sets of images and sounds that need no download."""

from __future__ import annotations

import io
import json
import random
import wave
from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.data.examples import Array

Files = dict[str, bytes]

RATE = 16_000
SECONDS = 0.5
EACH = 60
"""Tones of every kind."""
TONES = ("steady", "rising", "falling", "pulsing")


def digits() -> Files:
    """1,797 digits that people wrote, 8 by 8 pixels of grey (Alpaydin and Kaynak, UCI, CC BY 4.0; in scikit-learn)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    # From 0 to 16 there.
    pixels = (found.images * 255 / 16).round().astype(int)
    rows = zip(pixels.tolist(), found.target.tolist(), strict=True)
    return _split([{"image": image, "label": str(label)} for image, label in rows])


def tones() -> Files:
    """Made-up tones of several pitches in noise: steady, rising, falling or pulsing. No recording is among them."""
    chance = np.random.default_rng(0)
    files: Files = {}
    rows = []
    for n in range(EACH):
        for kind in TONES:
            name = f"wav/{kind}-{n:02}.wav"
            files[name] = _wav(_tone(kind, chance))
            rows.append({"audio": name, "label": kind})
    return files | _split(rows)


def _split(rows: Sequence[Mapping[str, object]]) -> Files:
    """A tenth for dev, a tenth for test, the rest for train, in an order by chance that is always the same."""
    order = list(rows)
    random.Random(0).shuffle(order)
    tenth = len(order) // 10
    parts = {"train": order[2 * tenth :], "dev": order[:tenth], "test": order[tenth : 2 * tenth]}
    return {f"{split}.jsonl": "".join(json.dumps(row) + "\n" for row in part).encode() for split, part in parts.items()}


def _tone(kind: str, chance: np.random.Generator) -> Array:
    """Samples [length], from -1 to 1."""
    time = np.arange(int(RATE * SECONDS)) / RATE
    pitch = chance.uniform(200, 800)
    bend = {"rising": 1.0, "falling": -0.5}.get(kind, 0.0)
    # The phase is the integral of the pitch.
    tone = np.sin(2 * np.pi * pitch * (time + bend * time**2 / (2 * SECONDS)))
    if kind == "pulsing":
        tone = tone * (np.sin(2 * np.pi * chance.uniform(6, 12) * time) > 0)
    sound: Array = chance.uniform(0.2, 0.6) * tone + 0.05 * chance.standard_normal(len(time))
    return sound.clip(-1, 1)


def _wav(samples: Array) -> bytes:
    raw = io.BytesIO()
    with wave.open(raw, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * (2**15 - 1)).astype("<i2").tobytes())
    return raw.getvalue()
