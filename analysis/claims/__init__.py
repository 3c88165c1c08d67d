"""What the claims of papers come to here: verdicts as functions of scores, a figure and a page for each."""
