"""Margins of the questions asked of an agent's networks: can they still fit, does the policy explore, and does a gradient pass through it?
All are this project's."""

FITS = 0.8
"""share of what an untrained network learns"""
EXPLORES = 0.02
"""share of an untrained network's entropy; with two actions, the other one is then drawn twice in a thousand steps"""
PASSES = 0.02
"""share of an untrained network's Fisher information; the policy gradient is then at most a seventh of that network's, for equal
advantages"""
