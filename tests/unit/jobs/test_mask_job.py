"""`python -m jobs.mask` masks a text, and puts back what it masked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TEXT = "李雷 13800138000\r\njane@example.com\n"


def mask(*arguments: str, given: bytes = b"", key: str | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != "MOTLEY_MASK_KEY"}
    return subprocess.run(
        [sys.executable, "-m", "jobs.mask", *arguments],
        cwd=ROOT,
        input=given,
        capture_output=True,
        env=environment | ({} if key is None else {"MOTLEY_MASK_KEY": key}),
        timeout=60,
    )


def test_a_file_or_standard_input_is_masked_and_its_ends_of_lines_stay(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(TEXT.encode())
    for done in (mask(str(file)), mask(given=TEXT.encode())):
        assert (done.returncode, done.stdout.decode()) == (0, "李雷 [PHONE]\r\n[EMAIL]\n")


def test_what_was_masked_with_a_key_comes_back_with_it() -> None:
    key = mask("--new-key").stdout.decode().strip()
    sealed = mask("--reversible", given=TEXT.encode(), key=key).stdout
    assert b"jane" not in sealed
    assert mask("--unmask", given=sealed, key=key).stdout.decode() == TEXT


def test_json_says_what_was_replaced() -> None:
    done = mask("--json", "--kinds", "email", given=TEXT.encode())
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"text": "李雷 13800138000", "replaced": []},
        {
            "text": "[EMAIL]",
            "replaced": [{"kind": "email", "start": 0, "end": 16, "masked_start": 0, "masked_end": 7}],
        },
    ]


@pytest.mark.parametrize(
    ("arguments", "given", "message"),
    [
        (["--unmask"], b"", "MOTLEY_MASK_KEY holds no key: set it to what `python -m jobs.mask --new-key` prints."),
        (["--unmask", "--json"], b"", "--unmask prints the text as it was"),
        (["--kinds", "mail"], b"", "No kind of personal data is called 'mail'"),
        (["--regions", "China"], b"", "'China' is no region"),
        (["no-such-file"], b"", "no-such-file"),
        ([], b"\xff\xfe", "Standard input is not UTF-8: convert it"),
    ],
)
def test_what_is_wrong_is_said_and_ends_with_2(arguments: list[str], given: bytes, message: str) -> None:
    done = mask(*arguments, given=given)
    assert (done.returncode, done.stdout) == (2, b"")
    assert message in done.stderr.decode()
