"""Networks that learn by gradients. `classifier`, `image_classifier`, `spoken_networks`, `ttfs` and `ttfs_training` are what several share."""
