"""Local rules beside backpropagation on one task and network: accuracy, memory, time, and what each synapse had to know."""
