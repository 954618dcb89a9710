"""How populations and convolutions run fast: compiled kernels on a CPU, Triton and CUDA graphs on a GPU."""
