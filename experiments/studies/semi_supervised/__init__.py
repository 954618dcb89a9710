"""Learning from many images without labels and few with: spike timing first, gradients after."""
