"""The errors netfold raises: one class, one reason, each also the builtin that a caller would catch."""


class NetfoldError(Exception):
    """Base of every error that netfold raises on purpose."""


class InvalidInputError(NetfoldError, ValueError):
    """A value handed to netfold is unusable: wrong shape, not finite, empty, out of range."""


class CaptureError(NetfoldError, RuntimeError):
    """A model could not be turned into a program, or its program does not reproduce it."""


class NotPiecewiseLinearError(NetfoldError, TypeError):
    """An exact method met an operation that is not piecewise linear."""


class NotExplicitError(NetfoldError, TypeError):
    """A certificate needs the coefficients of an operation that has no matrix netfold can read."""


class UntrustedFileError(NetfoldError, ValueError):
    """A file could run code when opened (a pickle), so netfold does not open it."""


class UnwritableFileError(NetfoldError, OSError):
    """A file could not be written: the disk is full, the folder read-only, another process holds it."""


class CorruptFileError(NetfoldError, OSError):
    """A file is not what its name says, or is damaged."""


def first_line(error: Exception) -> str:
    """The kind of an error and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
