"""What was measured: frozen records with their counting rule, error, status and provenance."""
