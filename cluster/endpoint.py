"""Put a model on the cluster's HTTP port, say how to ask it, and take it off again."""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.schema import LoggingConfig

from cluster.serve_options import ServeOptions
from cluster.serving import build, bundles
from cluster.session import connected
from cluster.worker import FRONT
from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.inference import registry
from pipelines.inference.access import Access
from pipelines.inference.credentials import hash_key
from pipelines.inference.hiding import Hiding
from pipelines.inference.keys import read_keys
from pipelines.inference.listener import SECONDS_TO_END, Listen
from pipelines.inference.tls import certificate_end, files_of
from pipelines.serve_settings import ServeConfig
from pipelines.tracking import tracking_uri
from pipelines.versions.registry_view import RegistryView

KEY_VARIABLE = "MOTLEY_API_KEY"
APPLICATION = "motley"
EXAMPLE = '{"inputs": "Ada moved to Berlin."}'


@dataclass(frozen=True, slots=True)
class Key:
    """The endpoint's key, and whether it was made just now."""

    text: str
    is_new: bool

    @classmethod
    def of(cls, given: str | None) -> Key:
        return cls(given, is_new=False) if given else cls(secrets.token_urlsafe(32), is_new=True)


def options(config: Config, model: str | None, *, key: str | None) -> ServeOptions:
    """What the replicas are told; the model's alias is resolved here, so that all of them serve one version.

    Args:
        model: an address or folder; the config's registered model by its alias when left out.
        key: what requests must bring, where one key is what opens.

    Raises:
        UserError: there is no such model, or the key file cannot be used.
    """
    track, settings = config.track, config.serve
    assert key or not settings.by_one_key
    access = Access.of(settings)
    if access.keys is not None:
        # Each replica will; a fault in it is better told here.
        read_keys(Path(access.keys))
    uri = model or f"models:/{track.register_as or config.run.name}@{track.alias}"
    store = tracking_uri(track) if uri.startswith("models:") else None
    ref = registry.resolve(uri, tracking_uri=store)
    return ServeOptions(
        model=ref.uri,
        tracking_uri=store,
        key_sha256=hash_key(key) if key and settings.by_one_key else None,
        settings=settings,
        follows=_view(config, uri),
        hiding=Hiding.of(settings.mask),
        access=access,
    )


def _view(config: Config, uri: str) -> RegistryView | None:
    """Of the alias that the model is served by; a version by its number stays what it is."""
    alias = registry.alias_of(uri)
    if alias is None or not config.serve.follow_seconds:
        return None
    return RegistryView(*alias, tracking_uri(config.track), config.serve.trial)


@contextmanager
def running(chosen: ServeOptions, settings: ServeConfig) -> Iterator[str]:
    """Serve inside the `with`; yields the endpoint's address.

    On a cluster that was there before, only this application is taken off at the end.

    Raises:
        UserError: the port is taken, this machine has too few CPUs, the cluster has such an endpoint already, or the
            files of `serve.tls` do not do.
    """
    files = files_of(settings.tls, datetime.now(UTC))
    with connected() as started_here:
        port = settings.port or _free_port(settings.host)
        if started_here:
            _check_machine(settings, port)
        elif APPLICATION in serve.status().applications:
            raise UserError(
                f"This cluster has an application {APPLICATION!r} already: end that jobs.serve first, or add the model "
                "with `serve run jobs.serve:build_app model=models:/NAME@ALIAS --name ANOTHER`."
            )
        # The front listens by itself: a proxy before it would cost more than the front does.
        serve.start(proxy_location="Disabled", logging_config=LoggingConfig(log_level="WARNING"))
        # What follows is Ray Serve's progress in its own words.
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        certificate, key = files or (None, None)
        listen = Listen(settings.host, port, certificate, key, certificate_end(settings.tls))
        try:
            serve.run(build(replace(chosen, listen=listen)), name=APPLICATION, route_prefix=None)
            host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
            yield f"{'https' if files else 'http'}://{host}:{port}"
        finally:
            with suppress(RayError, RayServeException, TimeoutError):
                serve.get_deployment_handle(FRONT, APPLICATION).close.remote().result(timeout_s=SECONDS_TO_END)
            if started_here:
                serve.shutdown()
            else:
                serve.delete(APPLICATION)


def how_to_ask(url: str, key: Key | None, settings: ServeConfig) -> str:
    """For the terminal: the address, where the key comes from, and a line to paste. A new key is shown here only."""
    lines = [f"Serving at {url}; its documentation is at {url}/docs. Ctrl-C ends it."]
    credential = ""
    if settings.auth == "none":
        lines.append("It asks for no key (serve.auth=none): whoever reaches the port can use it.")
    else:
        credential = f' -H "Authorization: Bearer ${KEY_VARIABLE}"'
        if key is None:
            ways = [f"a key of {settings.keys} (python -m jobs.keys)"] if settings.keys else []
            ways += [f"a token of {settings.jwt.issuer}"] if settings.jwt else []
            lines.append(f"It asks for {' or '.join(ways)}.")
        elif key.is_new:
            lines += [f"Its key is new and shown only this once ({KEY_VARIABLE} is not set here):"]
            lines += [f"  export {KEY_VARIABLE}={key.text}"]
        else:
            lines.append(f"Its key is the one in {KEY_VARIABLE}.")
    lines += ["Ask it:", f"  curl {url}/v1/predict{credential} -H 'Content-Type: application/json' -d '{EXAMPLE}'"]
    return "\n".join(lines)


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _check_machine(settings: ServeConfig, port: int) -> None:
    """Ray Serve would wait for ever for CPUs or GPUs, and say little of a port."""
    there = ray.cluster_resources()
    for kind in ("CPU", "GPU"):
        needs = [(group.most, sum(one.get(kind, 0) for one in bundles(group))) for group in settings.groups]
        if (needed := sum(number * each for number, each in needs)) > there.get(kind, 0):
            worker = " + ".join(f"{number} x {each:g}" for number, each in needs)
            raise UserError(
                f"Serving needs {needed:g} {kind}s ({worker}) and this machine has {there.get(kind, 0):g}: set "
                "serve.replicas (or serve.scale.most) or serve.cpus_per_replica lower, or those of serve.beside."
            )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, port))
        except OSError as error:
            raise UserError(
                f"Cannot listen on {settings.host}:{port} ({error.strerror}): set serve.port or serve.host."
            ) from None
