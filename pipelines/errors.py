"""The one error that is meant for the person who started the job."""


class UserError(ValueError):
    """Something the user can mend: the message says what was found, what is needed, and what to change.

    Jobs print the message as one paragraph, without a traceback, and exit with code 2. Every other
    exception is a bug and propagates.
    """
