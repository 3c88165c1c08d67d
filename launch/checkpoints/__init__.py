"""Uses of checkpoints: play, film, probe."""
