"""Networks that learn by gradients. `classifier`, `image_classifier`, `ttfs` and `ttfs_training` are what several share."""
