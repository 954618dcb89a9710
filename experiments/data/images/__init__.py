"""Images: their files and splits."""
