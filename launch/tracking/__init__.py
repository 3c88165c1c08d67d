"""Views of a run for people: TensorBoard, Weights & Biases."""
