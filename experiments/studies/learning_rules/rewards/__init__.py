"""Rules that a reward modulates: conditioning with a delayed reward, and XOR."""
