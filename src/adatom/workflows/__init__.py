"""One file per task: a configuration and run(config)."""
