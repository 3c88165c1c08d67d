"""Experience: frames, replay, priorities, returns and rewards."""
