"""Views of a run: TensorBoard, Weights & Biases."""
