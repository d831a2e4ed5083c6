"""`/metrics`: what the endpoint counts of itself, as Prometheus reads it. Needs the scope `metrics`."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response

from pipelines.inference.problems import problems
from pipelines.watch.watch import Watch

METRICS = "/metrics"


def add_routes(app: FastAPI, watch: Watch, credential: list[Any]) -> None:
    @app.get(
        METRICS,
        response_class=Response,
        responses=problems(401, 403, 429, 503),
        dependencies=credential,
        summary="How is it?",
    )
    async def metrics(request: Request) -> Response:
        """Counts and gauges in Prometheus's text form, or OpenMetrics where that is asked for. No text of anybody."""
        body, content_type = watch.text(request.headers.get("accept", ""))
        return Response(body, media_type=content_type)
