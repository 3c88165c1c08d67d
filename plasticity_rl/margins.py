"""Margins of the two questions asked of an agent's networks: can they still fit, and does the policy explore? Both are this project's."""

FITS = 0.8
"""share of what an untrained network learns"""
EXPLORES = 0.02
"""share of an untrained network's entropy; with two actions, the other one is then drawn twice in a thousand steps"""
