"""Grids of settings of other studies, and what the thesis claims of them. `parameter_study` is what they share."""
