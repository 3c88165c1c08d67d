"""Claims of papers, as data, and how they are tried."""
