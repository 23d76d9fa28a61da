"""Object functions from images, and what the images say of them."""
