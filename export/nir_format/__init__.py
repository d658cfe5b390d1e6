"""NIR files: written losslessly from a Network and read back."""
