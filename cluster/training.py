"""The main job: fine-tune, track, register. Everything jobs/train.py does, as a function."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import TYPE_CHECKING, Any

from cluster.driver import Driver, Stopped, StopRequest
from cluster.session import connected
from pipelines.config import Config
from pipelines.data.anonymous import told_memory
from pipelines.inference.registry import register
from pipelines.preflight import preflight
from pipelines.report.recorder import Recorder

if TYPE_CHECKING:
    from cluster.data_parallel import DataParallel


def train(config: Config) -> dict[str, Any]:
    """Run `config` to the end and return the summary; the run's folder is `summary["folder"]`.

    Raises:
        UserError: the config cannot be run as it is; nothing was written.
        Stopped: SIGINT or SIGTERM came; a checkpoint was saved and no actor is left.
    """
    place = preflight(config)
    recorder = Recorder(config, place.path)
    stop = StopRequest()
    try:
        for note in place.notes:
            recorder.note(note)
        with connected() as started_here, _stopping(stop):
            driver = _maker(config)(place.settle(config), place.path, recorder, may_grow=not started_here, stop=stop)
            try:
                stop.graceful = True
                return _finish(config, driver, recorder)
            finally:
                stop.graceful = False
                driver.close()
    except Stopped:
        recorder.finish("KILLED")
        raise
    except BaseException:
        recorder.finish("FAILED")
        raise
    finally:
        place.folder.release()


def _maker(config: Config) -> type[Driver] | type[DataParallel]:
    if config.plan.strategy != "data":
        return Driver
    # Imported here: Ray Train takes seconds, and few runs need it.
    from cluster.data_parallel import DataParallel

    return DataParallel


def _finish(config: Config, driver: Driver | DataParallel, recorder: Recorder) -> dict[str, Any]:
    driver.run()
    recorder.stop_showing()
    model = recorder.folder / "model"
    driver.save_model(model)
    recorder.draw()
    assert recorder.tracker is not None
    name = config.track.register_as or config.run.name
    version = register(
        model,
        name=name,
        alias=config.track.alias,
        run_id=recorder.tracker.run_id,
        tracking_uri=recorder.tracker.uri,
        tags={"task": config.train.task},
    )
    registered = {"name": name, "version": version.version, "alias": config.track.alias}
    memory = driver.data_memory()
    if (told := told_memory(memory)) is not None:
        recorder.note(told)
    summary = recorder.write_summary(
        model=registered, how_to_open=recorder.tracker.how_to_open(), data_memory=[asdict(use) for use in memory]
    )
    recorder.finish("FINISHED")
    return summary


@contextmanager
def _stopping(stop: StopRequest) -> Iterator[None]:
    """While this lasts, the first SIGINT or SIGTERM asks the run to stop; the second one ends it at once."""

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.graceful and stop.signal is None:
            stop.signal = number
            return
        if number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
