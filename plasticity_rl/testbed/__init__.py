"""Home of the testbed's packages in a wheel: importing this makes `agents`, `analysis`, `envs` and `launch` importable.

In a checkout they stand at the top, and this changes nothing. A wheel holds the same files in this folder, because top-level packages of
such names would overwrite those of other projects. The folder comes first on the path of this process alone.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

if (HERE / "launch").is_dir() and str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))
