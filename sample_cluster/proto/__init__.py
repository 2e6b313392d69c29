"""The schema of the binary client protocol, and the code generated from it by `make proto`."""
