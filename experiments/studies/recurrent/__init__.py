"""Recurrent networks that hear or feel events, trained by gradients. `spoken` and `spoken_networks` are what several share."""
