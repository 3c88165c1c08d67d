"""Claims of papers, as data, and the code that tests them."""
