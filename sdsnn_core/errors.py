"""Errors that a user can cause. The command line prints their message as one line and exits with status 2.

Every message has one form, `WHERE: expected X, got Y`, on one line.
"""


class SdsnnError(Exception):
    """Base of every error that sdsnn raises on purpose."""


class NetworkError(SdsnnError, ValueError):
    """A network that cannot exist, or that does not match its data."""


class UnsupportedNode(SdsnnError, NotImplementedError):
    """A node, layer or option that has no rule in the place that met it."""


class FileError(SdsnnError, OSError):
    """A file that is missing, corrupt, or not of the format it should have."""


class ConfigError(SdsnnError, ValueError):
    """Every problem of a configuration in one message."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(self.problems))


class MissingDependency(SdsnnError, ImportError):
    """A package that a feature needs is not installed; the message gives the command that installs it."""


class BackendError(SdsnnError, RuntimeError):
    """A back end failed, or ran past its time limit."""


def one_line(error: BaseException) -> str:
    """Return the message of an error with every run of white space as one space, or its type where it has no message.

    Messages of other libraries are cut at 200 characters, ours are kept whole.

    Examples:
        >>> one_line(ValueError("bad   value"))
        'bad value'
    """
    line = " ".join(str(error).split()) or type(error).__name__
    return line if isinstance(error, SdsnnError) else line[:200]
