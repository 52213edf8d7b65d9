"""What a run leaves behind: events, stop-watch, telemetry, provenance and result."""
