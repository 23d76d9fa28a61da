"""Images: read, write, calibrate, normalize."""
