"""What domains share: the driver, blocks of rows; and lines and arcs: refinement, records, the output."""
