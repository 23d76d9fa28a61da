"""What every room shares: errors, configuration, randomness, tables, materials."""
