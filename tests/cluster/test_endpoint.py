"""Serving from start to end on a Ray that is there already."""

from __future__ import annotations

from pathlib import Path

import pytest
from ray import serve

from cluster.endpoint import KEY_VARIABLE, Key, how_to_ask, options, running
from pipelines.config import Config
from pipelines.errors import UserError
from pipelines.inference.client import predict_once, wait_until_ready
from pipelines.inference.guard import hash_key
from pipelines.serve_settings import ServeConfig
from tests.unit.pipelines.inference.conftest import make_model_folder

pytestmark = pytest.mark.timeout(180)

URL = "http://127.0.0.1:1"


def test_a_new_key_is_shown_and_a_given_one_is_not() -> None:
    new, given = Key.of(None), Key.of("from-outside")
    assert (new.is_new, given.is_new) == (True, False)
    assert len(new.text) >= 32
    assert new.text in how_to_ask(URL, new)
    assert given.text not in how_to_ask(URL, given)
    assert f'-H "Authorization: Bearer ${KEY_VARIABLE}"' in how_to_ask(URL, given)
    assert "Authorization" not in how_to_ask(URL, None)


def test_the_replicas_get_the_keys_hash_and_the_settings(tmp_path: Path) -> None:
    config = Config(serve=ServeConfig(max_inputs=3))
    chosen = options(config, str(tmp_path), key="k")
    assert (chosen.key_sha256, chosen.max_inputs, chosen.model) == (hash_key("k"), 3, str(tmp_path))
    assert options(Config(serve=ServeConfig(auth="none")), str(tmp_path), key="k").key_sha256 is None


@pytest.mark.usefixtures("ray_session")
def test_serving_begins_answers_and_ends(tmp_path: Path) -> None:
    settings = ServeConfig(port=0)
    chosen = options(Config(serve=settings), str(make_model_folder(tmp_path / "tiny")), key="k")
    try:
        with running(chosen, settings) as url:
            assert wait_until_ready(url).model == "tiny"
            assert len(predict_once(url, "k", ["John", ""])) == 2
            # A second one would get the first one's port, whatever it asked for.
            with pytest.raises(UserError, match="runs on this cluster already"), running(chosen, settings):
                pass
        assert serve.status().applications == {}
    finally:
        serve.shutdown()
