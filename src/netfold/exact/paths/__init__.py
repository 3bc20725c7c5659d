"""What lines and arcs share: blocks of rows, refinement, records, the output."""
