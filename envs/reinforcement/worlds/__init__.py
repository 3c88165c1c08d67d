"""Worlds as functions of tensors: N environments step together on the device of the learner."""
