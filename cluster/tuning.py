"""A search over settings: Ray Tune says what to try and what to stop, each trial is a run of the main job."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, Literal

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.basic_variant import BasicVariantGenerator

from cluster.child import Errand
from cluster.domains import domain
from cluster.population import Member, Population
from cluster.session import connected
from cluster.trial import Trial, trial_name
from pipelines.config import Config
from pipelines.data.sources import sources
from pipelines.errors import UserError
from pipelines.search.found import Found, Tried
from pipelines.search.population import check_population
from pipelines.search.space import Space
from pipelines.tracking import Tracker

Tell = Callable[[str], None]
NOTHING: dict[str, float] = {"memory": 1}
"""What a trial itself takes of the cluster, as little as Ray Tune allows (a byte): the devices are for its run."""
By = Literal["random", "tpe", "population"]


def search(
    config: Config,
    space: Space,
    *,
    trials: int,
    folder: Path,
    at_once: int,
    stop_early: bool,
    seed: int,
    tell: Tell,
    by: By = "random",
    every: int = 1,
) -> Found:
    """Try the config as it is, and then others.

    Args:
        trials: how many, the config as it is among them.
        folder: of the search; must not be there.
        at_once: trials that run at the same time; each needs the devices of its plan.
        stop_early: end trials that do worse than others after as many epochs (asynchronous successive halving); not
            those of a population.
        by: `random` draws every trial by itself; `tpe` near those that did well (tree-structured Parzen estimator,
            Bergstra et al. 2011, by Optuna), after a third of the trials. `population` draws as `random`, and has the
            worst go on from the best while they train (population based training, see cluster/population.py).
        every: epochs between two comparisons of a population.

    Raises:
        UserError: the config cannot be run, has no dev split, or no trial came to a score; with `tpe` it lies
            outside of the space; a population cannot vary what is searched; or `every` is given without one.
    """
    if "dev" not in sources(config.data):
        raise UserError("A search compares scores on dev, and there is no dev split. Set data.dev.")
    if config.plan.strategy == "data":
        raise UserError("A search runs Motley's own strategy: leave plan.strategy out.")
    if by == "population":
        check_population(config, space, every)
    elif every != 1:
        raise UserError(
            f"--every {every} says how often a population is compared: leave it out, or use --by population."
        )
    searcher = _searcher(by, _as_it_is(config, space), space, trials, at_once, seed)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UserError(f"The folder {folder} is there already: give another one with --output.") from None
    tracker = Tracker.start(config, run_name=folder.name)
    try:
        with connected():
            environment = {
                "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
                "PYTHONPATH": os.pathsep.join([os.getcwd(), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]),
            }
            track = config.track.model_copy(
                update={"uri": tracker.uri, "register_as": f"{config.track.register_as or config.run.name}-search"}
            )
            whole = config.model_copy(update={"track": track}).model_dump(mode="json")
            errand = Errand(whole, folder.absolute(), environment, {"mlflow.parentRunId": tracker.run_id})
            # Its own display, and that the config as it is lies outside of the space, are of no use here.
            os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
            logging.getLogger("ray.tune").setLevel(logging.ERROR)
            if by == "population":
                trainable = tune.with_parameters(Member, errand=errand, every=every, at_once=at_once)
                scheduler: Any = Population(space, every, seed)
            else:
                trainable = tune.with_parameters(Trial, errand=errand)
                # Any: Ray Tune's own types do not say what these take.
                scheduler = ASHAScheduler(max_t=config.train.epochs + 1, grace_period=1) if stop_early else None
            results = _tuner(trainable, scheduler, space, trials, searcher, folder.absolute(), tell).fit()
            # The weights of a population's member are those of its end.
            found = _found(results, _as_it_is(config, space), last=by == "population")
        tracker.metrics(0, {"best_score": found.best.score or 0.0})
        tracker.finish("FINISHED")
    except BaseException:
        tracker.finish("FAILED")
        raise
    return found


def _searcher(by: By, as_it_is: dict[str, Any], space: Space, trials: int, at_once: int, seed: int) -> Any:
    # Any: Ray Tune's own types do not say what these take.
    if by != "tpe":
        variants: Any = BasicVariantGenerator
        # All of a population are there from the beginning, and take turns.
        most = 0 if by == "population" else at_once
        return variants(points_to_evaluate=[as_it_is], max_concurrent=most, random_state=seed)
    # Loading it takes a while, and few searches need it.
    import optuna
    from optuna.samplers import TPESampler
    from ray.tune.search.optuna import OptunaSearch

    for key, value in as_it_is.items():
        if value not in space[key]:
            # Optuna would put another value in its place.
            raise UserError(
                f"The config's own {key}={value} is not in what is searched, where `tpe` begins. Search a range or "
                "choices with it in them, or search at random."
            )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = TPESampler(seed=seed, n_startup_trials=max(2, trials // 3))
    return ConcurrencyLimiter(
        OptunaSearch(metric="score", mode="max", points_to_evaluate=[as_it_is], sampler=sampler), max_concurrent=at_once
    )


def _tuner(trainable: Any, scheduler: Any, space: Space, trials: int, searcher: Any, folder: Path, tell: Tell) -> Any:
    return tune.Tuner(
        tune.with_resources(trainable, NOTHING),
        param_space={key: domain(one) for key, one in space.items()},
        tune_config=tune.TuneConfig(
            metric="score", mode="max", num_samples=trials, scheduler=scheduler, search_alg=searcher
        ),
        run_config=tune.RunConfig(
            name="tune", storage_path=str(folder), verbose=0, callbacks=[_Teller(tell)],
            # A trial keeps its own; Ray Tune has nothing of it.
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )  # fmt: skip


def _as_it_is(config: Config, space: Space) -> dict[str, Any]:
    tree: Any = config.model_dump(mode="json")
    return {key: reduce(lambda node, part: node[part], key.split("."), tree) for key in space}


class _Teller(tune.Callback):
    """Says how the trials do, line by line."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002
        trials: list[Any],  # noqa: ARG002
        trial: Any,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        if result.get("taken_from") not in (None, trial_name(trial.trial_id)):
            self._tell(f"{_named(trial)}  went on from {result['taken_from']} at step {result['taken_at']}")
        if not result.get("again"):
            self._tell(f"{_named(trial)}  epoch {result['epoch']}  {result['score_name']} {result['score']:.4f}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ARG002
        self._tell(f"{_named(trial)}  failed")


def _named(trial: Any) -> str:
    chosen = trial.config.items()
    shown = ", ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in chosen)
    return f"trial {trial.trial_id.rpartition('_')[2]} ({shown})"


def _found(results: Any, as_it_is: dict[str, Any], *, last: bool) -> Found:
    """`last`: a trial's score is its last one, and not its best."""
    tried: list[Tried] = []
    name = ""
    for result in results:
        frame = result.metrics_dataframe
        scores = [] if frame is None or "score" not in frame else list(frame["score"])
        name = name or str((result.metrics or {}).get("score_name", ""))
        tried.append(
            Tried(
                number=str(result.metrics.get("trial_id", "")).rpartition("_")[2] if result.metrics else "",
                chosen=dict(result.config or {}),
                as_it_is=not tried and result.config == as_it_is,
                score=scores[-1] if scores and last else max(scores, default=None),
                epochs=int((result.metrics or {}).get("epoch", 0)),
                stopped=result.error is None and "folder" not in (result.metrics or {}),
                problem=None if result.error is None else str(result.error).strip().splitlines()[-1],
                folder=(result.metrics or {}).get("folder"),
            )
        )
    tried.sort(key=lambda one: -(one.score if one.score is not None else float("-inf")))
    if not tried or tried[0].score is None:
        raise UserError(f"No trial came to a score on dev; the first one: {tried[0].problem if tried else 'none ran'}.")
    return Found(name, tried)
