"""A check of one trained network beside newly initialised twins, without retraining: `plasticity_rl.check`."""
