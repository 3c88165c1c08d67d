"""MinAtar: five small Atari games (Young & Tian 2019), N of them at once; benchmark.py is the sequence of tasks, a file each the rules."""
