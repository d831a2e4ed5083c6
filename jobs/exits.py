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
        SystemExit: 2 after a UserError, and 1 after a FloatingPointError (a run that had to end because numbers were
            not finite); the message of both goes to stderr. 130 after Ctrl-C.
    """
    try:
        yield
    except (UserError, FloatingPointError) as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        raise SystemExit(2 if isinstance(error, UserError) else 1) from None
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        raise SystemExit(130) from None
