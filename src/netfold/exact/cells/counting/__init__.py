"""The work of counting cells: queue, threads, cluster, checkpoints, progress, estimates."""
