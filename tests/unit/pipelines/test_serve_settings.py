"""What may be said of the endpoint, and what is refused."""

from __future__ import annotations

import pytest

from pipelines.config import Config, from_overrides, load_config
from pipelines.errors import UserError

JWT = "serve.jwt={issuer: i, audience: a, jwks: keys.json"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("serve.auth=token", "'serve.auth' is 'token'"),
        ("serve.rate=often", "'serve.rate' is 'often': write a number from 1 to 1000000000 and one of /s, /min"),
        ("serve.rate=0/min", "such as 100/min"),
        ("serve.cors=['*']", "name each origin as browsers do, such as https://app.example.org"),
        ("serve.cors=[https://app.example.org/]", "such as https://app.example.org"),
        ("serve.cors=[app.example.org]", "such as https://app.example.org"),
        ("serve.tls.certificate=cert.pem", "'serve.tls.key' is"),
        ("serve.keys=''", "at least 1 character"),
        ("serve.follow_seconds=-1", "greater than or equal to 0"),
        ("serve.golden_agreement=2", "less than or equal to 1"),
        ("serve.trial.min_request=5", "did you mean 'serve.trial.min_requests'?"),
        ("serve.trial.promote=soon", "'serve.trial.promote' is 'soon'"),
        ("serve.jwt.issuer=https://id.example.org", "'serve.jwt.audience' is"),
        (JWT + ", algorithms: [none]}", "a token with the signature none is not signed at all; name some of RS256"),
        (
            JWT + ", algorithms: [HS256]}",
            "whoever can check a token signed by HS256 could make one; name some of RS256",
        ),
        (JWT + ", algorithms: [ROT13]}", "there is no signature 'ROT13' here; name some of RS256"),
        (JWT + ", algorithms: []}", "at least 1 item"),
        (JWT + ", leeway: -1}", "greater than or equal to 0"),
        (JWT + ", leeway: 601}", "less than or equal to 600"),
        (JWT + ", scopes: x}", "did you mean 'serve.jwt.scope_claim'?"),
        ("serve.scale={least: 2, most: 1}", "least is above most"),
        ("serve={replicas: 2, scale: {most: 3}}", "leave replicas out"),
        ("serve.device=tpu", "'serve.device' is 'tpu'"),
        ("serve.plan={stages: auto}", "set stages to a number from 2 on"),
        ("serve.plan={stages: 1}", "set stages to a number from 2 on"),
        ("serve.plan={stages: 2, replicas: 2, servers: 1}", "only answers has no replicas, servers; leave it out"),
        ("serve={device: gpu, plan: {stages: 2}}", "set devices of its plan, not device"),
        ("serve.beside=[{scale: {least: 0, most: 2}}]", "none can go down to none"),
        ("serve={scale: {least: 0, most: 2}, beside: [{device: gpu}]}", "none can go down to none"),
        ("serve.beside=[{port: 1}]", "port"),
        (
            "serve.jwt={issuer: i, audience: a, jwks: http://id.example.org/keys}",
            "must come by https://; else give a file",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(override: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        from_overrides([override])
    assert said in str(refused.value)


@pytest.mark.parametrize("setting", ["keys=keys.json", "rate=5/s", "jwt={issuer: i, audience: a, jwks: keys.json}"])
def test_what_an_open_endpoint_would_ignore_is_refused(setting: str) -> None:
    name = setting.partition("=")[0]
    with pytest.raises(UserError, match=f"auth is none, so that {name} would be ignored; leave one of both out"):
        from_overrides(["serve.auth=none", f"serve.{setting}"])


def test_the_single_key_opens_only_where_nothing_else_does() -> None:
    assert Config().serve.by_one_key
    assert from_overrides(["serve.rate=5/s"]).serve.by_one_key
    for settings in (["serve.auth=none"], ["serve.keys=keys.json"], [JWT + "}"]):
        assert not from_overrides(settings).serve.by_one_key


def test_all_of_it_is_written_and_read_again(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    asked = from_overrides([
        "serve.keys=keys.json", "serve.rate=100/min", "serve.cors=[https://app.example.org, 'http://localhost:3000']",
        "serve.tls={certificate: cert.pem, key: key.pem}", "serve.audit=audit.jsonl", "serve.scale={least: 0, most: 3}",
        "serve.jwt={issuer: i, audience: a, jwks: 'https://id.example.org/keys', algorithms: [ES256]}",
    ])  # fmt: skip
    path.write_text(asked.to_yaml())
    assert load_config(str(path)) == asked
