"""What a person does with runs: each command of `python -m launch` is a function here. What is heavy is imported inside it."""
