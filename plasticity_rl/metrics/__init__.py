"""What is measured, one file a family; pure functions of one network, to be lifted over members."""
