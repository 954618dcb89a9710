"""Ensembles and adaptive liquids against one: the kinds compared, the study, its figure."""
