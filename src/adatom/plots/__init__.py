"""Results drawn on matplotlib axes."""
