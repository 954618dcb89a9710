"""Learning rules at work: by spike timing, chance and reward, and local rules beside backpropagation. `unsupervised` and `diehl_cook` are what several share."""
