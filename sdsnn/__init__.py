"""Train spiking networks whose structure develops, and take what survives to a Loihi-class chip, bit for bit."""
