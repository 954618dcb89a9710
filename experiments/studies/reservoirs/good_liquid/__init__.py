"""What makes a good liquid: the points of a sweep, the study, its figure."""
