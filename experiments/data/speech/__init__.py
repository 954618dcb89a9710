"""Speech, as sound and as spikes of a cochlea."""
