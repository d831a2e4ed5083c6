"""How every job ends: an error that is meant for the user is one paragraph, and not a traceback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.errors import UserError


@contextmanager
def user_errors_exit_2() -> Iterator[None]:
    """Wrap a job's command, as a decorator or in `with`.

    Raises:
        SystemExit: 2 after a UserError, whose message goes to stderr; 130 after Ctrl-C.
    """
    try:
        yield
    except UserError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        raise SystemExit(130) from None
