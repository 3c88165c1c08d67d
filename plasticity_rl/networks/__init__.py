"""Networks: specs, layers and who reads whom, and the forward pass."""
