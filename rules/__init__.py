"""How weights change: plasticity and training rules, surrogate gradients, losses, read-outs."""
