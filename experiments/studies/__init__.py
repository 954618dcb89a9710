"""One file per study: a question, its settings, its answer. `ttfs` and `ttfs_training` are what first-spike classifiers share."""
