import pytest

from jobs.exits import user_errors_exit_2
from pipelines.errors import UserError


@user_errors_exit_2()
def job(error: BaseException | None = None) -> str:
    if error is not None:
        raise error
    return "done"


def test_a_job_that_ends_well_returns() -> None:
    assert job() == "done"


def test_a_user_error_is_one_paragraph_on_stderr_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        job(UserError("found this;\n  change that"))
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", "found this; change that\n")


def test_numbers_that_are_not_finite_are_one_paragraph_too_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        job(FloatingPointError("Step 3 changed no weight;\n  change that"))
    assert caught.value.code == 1
    assert capsys.readouterr() == ("", "Step 3 changed no weight; change that\n")


def test_ctrl_c_is_exit_code_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        job(KeyboardInterrupt())
    assert caught.value.code == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_other_errors_are_bugs_and_propagate() -> None:
    with pytest.raises(ZeroDivisionError):
        job(ZeroDivisionError())
