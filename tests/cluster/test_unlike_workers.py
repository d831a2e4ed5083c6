"""Workers of unlike kinds in one endpoint, and models that are cut over actors of their own."""

from __future__ import annotations

import os
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest
import ray
import torch
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from cluster.cut_model import cut
from pipelines.config import Config
from pipelines.inference.predictor import Text
from pipelines.inference.predictors import load_predictor
from pipelines.inference.text_predictor import Prompt
from pipelines.plan_settings import PlanConfig
from pipelines.serve_settings import ServeConfig
from pipelines.tasks import make_task
from pipelines.workers_settings import WorkersConfig
from tests.cluster.loads import TEXTS, Load, served, stages, until, workers
from tests.unit.pipelines.inference.conftest import make_model_folder
from tests.unit.pipelines.inference.test_every_predictor import near, saved

pytestmark = [pytest.mark.timeout(240), pytest.mark.usefixtures("ray_session")]

CUT = PlanConfig(stages=2, cpus_per_stage=0.25)


def ask(url: str, inputs: Any) -> Any:
    answer = httpx.post(f"{url}/v1/predict", json={"inputs": inputs}, timeout=60, trust_env=False)
    return answer.raise_for_status().json()["outputs"]


def test_workers_on_cpus_and_on_a_gpu_answer_beside_each_other(tmp_path: Path) -> None:
    settings = ServeConfig(
        port=0, auth="none", cpus_per_replica=0.5, max_batch_size=2,
        beside=(WorkersConfig(device="gpu", cpus_per_replica=0.5),),
    )  # fmt: skip
    with served(str(make_model_folder(tmp_path / "tiny")), Config(serve=settings)) as url:
        with Load(url, clients=8) as load:
            load.answered(60)
            os.kill(workers()[0], signal.SIGKILL)
            load.answered(60)
            until(lambda: len(workers()) == 2)
        counted = httpx.get(f"{url}/metrics", trust_env=False).text
    assert load.statuses == {200}
    assert all(f'worker="{place}"' in counted for place in "01")


@pytest.mark.parametrize("name", ["token-classification", "seq2seq-lm"])
def test_a_model_that_is_cut_answers_as_in_one_piece(tmp_path: Path, name: str) -> None:
    folder = saved(name, tmp_path)
    predictor = load_predictor(folder, threads=1)
    texts = ["Ann left Oslo", "it rains in Rome " * 9, "Bob"]
    inputs = texts if name == "token-classification" else [{"text": text, "max_new_tokens": 5} for text in texts]
    given = [predictor.takes(text) if name == "token-classification" else Prompt(text, 5) for text in texts]
    expected = [asdict(one) for one in predictor.predict(given)]
    settings = ServeConfig(port=0, auth="none", cpus_per_replica=0.25, plan=CUT)
    with served(str(folder), Config(serve=settings)) as url:
        assert near(ask(url, inputs), expected)
        assert len(stages()) == 2
        health = httpx.get(f"{url}/healthz", trust_env=False).json()
    assert health["status"] == "ok"
    until(lambda: not stages())


def test_a_chat_is_written_by_a_model_that_is_cut(tmp_path: Path) -> None:
    folder = saved("causal-lm", tmp_path)
    [expected] = load_predictor(folder, threads=1).predict([Prompt("Where is Ann?", 8)])
    settings = ServeConfig(port=0, auth="none", cpus_per_replica=0.25, plan=CUT)
    asked = {"messages": [{"role": "user", "content": "Where is Ann?"}], "max_tokens": 8, "model": "model"}
    with served(str(folder), Config(serve=settings)) as url:
        answer = httpx.post(f"{url}/v1/chat/completions", json=asked, timeout=60, trust_env=False).raise_for_status()
    assert answer.json()["choices"][0]["message"]["content"] == expected.text


def test_no_request_fails_when_a_stage_is_killed(tmp_path: Path) -> None:
    settings = ServeConfig(port=0, auth="none", cpus_per_replica=0.25, replicas=2, plan=CUT)
    with served(str(make_model_folder(tmp_path / "tiny")), Config(serve=settings)) as url, Load(url, clients=4) as load:
        load.answered(20)
        until(lambda: len(stages()) == 4)
        os.kill(stages()[0], signal.SIGKILL)
        load.answered(50)
        until(lambda: len(workers()) == 2 and len(stages()) == 4)
        assert ask(url, TEXTS)
    assert load.statuses == {200}


@ray.remote(num_cpus=0.25)
class Holder:
    """Holds a model that is cut over the other bundles of its placement group."""

    def __init__(self, folder: str) -> None:
        self._predictor = load_predictor(Path(folder), threads=1)
        self._losses = 0
        here = ray.util.get_current_placement_group()
        task = make_task("token-classification")
        self._close = cut(self._predictor.network, task, folder, CUT, here=here, lost=self._lose)

    def _lose(self) -> None:
        self._losses += 1

    def answer(self, texts: list[str]) -> list[Any]:
        return [asdict(one) for one in self._predictor.predict([Text(text) for text in texts])]

    def fail(self) -> str:
        """Asks for a sub-word that there is not."""
        nothing = torch.tensor([[10**6, 1], [1, 1]])
        try:
            self._predictor.network(input_ids=nothing, attention_mask=torch.ones_like(nothing))
        except Exception as error:
            return str(error)
        return ""

    def losses(self) -> int:
        return self._losses

    def close(self) -> None:
        self._close()


def test_an_input_that_a_stage_fails_on_fails_alone(tmp_path: Path) -> None:
    folder = saved("token-classification", tmp_path)
    expected = [asdict(one) for one in load_predictor(folder, threads=1).predict([Text("Ann left Oslo")] * 3)]
    group = placement_group([{"CPU": 0.25}] * 3)
    here = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
    make: Any = Holder
    holder = make.options(scheduling_strategy=here).remote(str(folder))
    try:
        for _ in range(2):
            assert near(ray.get(holder.answer.remote(["Ann left Oslo"] * 3)), expected)
            assert "index out of range" in ray.get(holder.fail.remote())
        assert near(ray.get(holder.answer.remote(["Ann left Oslo"] * 3)), expected)
        assert ray.get(holder.losses.remote()) == 0
        ray.get(holder.close.remote())
        until(lambda: not stages())
    finally:
        ray.kill(holder)
        remove_placement_group(group)
