"""Images to atoms tables."""
