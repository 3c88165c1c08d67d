"""Claims of papers, tested here: verdicts as functions of scores, with a figure and a page for each."""
