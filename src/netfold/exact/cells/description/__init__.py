"""The engine for few inputs: every cell with its generators (double description)."""
