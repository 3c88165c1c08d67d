"""Acting: policies, pools with their episodes, workers in other processes."""
