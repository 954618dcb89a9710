"""One file per study, in a folder by what it is about: a question, its settings, its answer."""
