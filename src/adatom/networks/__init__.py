"""Networks and models with their cards."""
