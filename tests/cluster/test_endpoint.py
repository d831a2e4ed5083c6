"""Serving from start to end on a Ray that is there already."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray import serve

from cluster.endpoint import KEY_VARIABLE, Key, how_to_ask, options, running
from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.inference.access import Access
from pipelines.inference.client import predict_once, wait_until_ready
from pipelines.inference.credentials import hash_key
from pipelines.inference.rate import Rate
from pipelines.serve_settings import JwtConfig, ServeConfig, TlsConfig
from tests.unit.pipelines.inference.conftest import make_model_folder

pytestmark = pytest.mark.timeout(180)

URL = "http://127.0.0.1:1"
JWT = JwtConfig(issuer="https://id.example.org", audience="motley", jwks="jwks.json")


def test_a_new_key_is_shown_and_a_given_one_is_not() -> None:
    new, given = Key.of(None), Key.of("from-outside")
    assert (new.is_new, given.is_new) == (True, False)
    assert len(new.text) >= 32
    settings = ServeConfig()
    assert new.text in how_to_ask(URL, new, settings)
    assert given.text not in how_to_ask(URL, given, settings)
    assert f'-H "Authorization: Bearer ${KEY_VARIABLE}"' in how_to_ask(URL, given, settings)
    assert "Authorization" not in how_to_ask(URL, None, ServeConfig(auth="none"))
    told = how_to_ask(URL, None, ServeConfig(keys="keys.json", jwt=JWT))
    assert "It asks for a key of keys.json (python -m jobs.keys) or a token of https://id.example.org." in told


def test_the_replicas_get_the_keys_hash_and_the_settings(tmp_path: Path) -> None:
    config = Config(serve=ServeConfig(max_inputs=3))
    chosen = options(config, str(tmp_path), key="k")
    assert (chosen.key_sha256, chosen.settings.max_inputs, chosen.model) == (hash_key("k"), 3, str(tmp_path))
    assert chosen.access == Access()
    assert options(Config(serve=ServeConfig(auth="none")), str(tmp_path), key="k").key_sha256 is None


def test_the_replicas_are_told_of_keys_and_tokens_by_whole_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config(serve=ServeConfig(keys="keys.json", jwt=JWT, rate="5/s", audit="audit.jsonl"))
    with pytest.raises(UserError, match=r"The key file .*keys.json cannot be read"):
        options(config, str(tmp_path), key=None)
    (tmp_path / "keys.json").write_text('{"keys": []}')
    chosen = options(config, str(tmp_path), key="not a way in")
    assert chosen.key_sha256 is None
    assert chosen.access == Access(
        keys=f"{tmp_path}/keys.json",
        jwt=JWT.model_copy(update={"jwks": f"{tmp_path}/jwks.json"}),
        rate=Rate(5, 1),
        audit=f"{tmp_path}/audit.jsonl",
    )


def test_a_certificate_that_does_not_do_is_refused_before_anything_starts(tmp_path: Path) -> None:
    settings = ServeConfig(tls=TlsConfig(certificate=str(tmp_path / "none.pem"), key=str(tmp_path / "none.key")))
    chosen = options(Config(serve=settings), str(tmp_path), key="k")
    with pytest.raises(UserError, match=r"none.pem cannot be read"), running(chosen, settings):
        pass


@pytest.mark.usefixtures("ray_session")
def test_serving_begins_answers_and_ends(tmp_path: Path) -> None:
    settings = ServeConfig(port=0)
    chosen = options(Config(serve=settings), str(make_model_folder(tmp_path / "tiny")), key="k")
    try:
        with running(chosen, settings) as url:
            assert wait_until_ready(url).model == "tiny"
            assert len(predict_once(url, "k", ["John", ""])) == 2
            with pytest.raises(UserError, match="has an application 'motley' already"), running(chosen, settings):
                pass
        assert serve.status().applications == {}
    finally:
        serve.shutdown()
