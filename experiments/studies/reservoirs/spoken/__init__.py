"""Spoken digits through liquids: the words, who listens to them, the study, its figure."""
