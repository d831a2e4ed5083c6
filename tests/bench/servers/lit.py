"""LitServe round `transformers.pipeline`, with its batching on."""

from __future__ import annotations

import sys
from typing import Any

import litserve
import torch
from transformers import pipeline


class Lit(litserve.LitAPI):
    def setup(self, device: str) -> None:
        torch.set_num_threads(1)
        self._pipeline = pipeline(
            "token-classification", model=sys.argv[1], aggregation_strategy="simple", device=device
        )

    def decode_request(self, request: dict[str, str]) -> str:
        return request["text"]

    def predict(self, texts: list[str]) -> list[Any]:
        return list(self._pipeline(texts, batch_size=len(texts)))

    def encode_response(self, output: Any) -> Any:
        return [{**found, "score": float(found["score"])} for found in output]


def main() -> None:
    server = litserve.LitServer(Lit(max_batch_size=32, batch_timeout=0.01), accelerator="cpu", workers_per_device=2)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
