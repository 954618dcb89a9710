"""Studies of recurrent networks: liquids, and the published networks that engines must reproduce. A study of several files has a folder."""
