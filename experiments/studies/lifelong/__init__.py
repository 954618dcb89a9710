"""Learning that goes on: classes that come one after the other, and what is left of the earlier ones."""
