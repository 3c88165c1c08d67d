"""Programs measured beside each other: a file for each, with what must be installed and the script that is measured.

A script imports nothing of this project, save that of `ours`: it runs under the peer's own Python. It trains until it is killed and says
how far it is in lines `steps N at T`, as `launch.bench.peers.windows` reads them.
"""
