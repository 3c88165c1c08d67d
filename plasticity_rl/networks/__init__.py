"""Networks: specs, layers, layer graph and forward pass."""
