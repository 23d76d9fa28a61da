"""Object functions from images and series without aberrations, and what the images say of them."""
