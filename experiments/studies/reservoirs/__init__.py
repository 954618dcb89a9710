"""Studies of recurrent networks: liquids, and the published networks that engines must reproduce."""
