import pytest

from pipelines.data.packages import package_path
from pipelines.errors import UserError


@pytest.mark.parametrize("inside", ["pytest/__init__.py", "pytest"])
def test_a_path_in_an_installed_package_is_found(inside: str) -> None:
    assert package_path(f"pytest/{inside}").exists()


def test_a_package_that_is_not_installed_is_an_error_that_says_how_to_get_it() -> None:
    with pytest.raises(UserError, match=r"'no-such-thing' is not installed here\. Run `pip install no-such-thing`"):
        package_path("no-such-thing/model")


def test_a_path_that_is_not_there_is_an_error_that_names_the_version() -> None:
    with pytest.raises(UserError, match=rf"pytest {pytest.__version__} has no 'pytest/gone'"):
        package_path("pytest/pytest/gone")


@pytest.mark.parametrize(
    "source", ["pytest", "pytest/", "/pytest", "", "pytest//etc/hosts", "pytest/../pip", r"pytest/a\b"]
)
def test_a_path_that_leaves_the_package_is_refused(source: str) -> None:
    with pytest.raises(UserError, match=r"Write DISTRIBUTION/path/inside"):
        package_path(source)
