"""Linear programs, in floating point and in rational arithmetic."""
