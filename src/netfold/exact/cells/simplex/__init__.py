"""The engine for more inputs: every cell by a simplex dictionary that splits."""
