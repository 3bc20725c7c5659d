"""Theory beside measurement: the matching prediction for every number of a trace."""
