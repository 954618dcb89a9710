"""Training kernels: the time loop of a group of populations and its adjoint, generated from the derived step."""
