"""Programs for speed comparison: one file each, with its requirements and the script to measure.

A script runs under the peer's own Python and, except for `ours`, imports nothing from this project. It trains until it is killed and
reports progress in lines `steps N at T`, read by `launch.bench.peers.windows`.
"""
