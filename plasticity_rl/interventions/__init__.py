"""The table of contents: one file a method. A chain is a tuple of them, in order."""

from plasticity_rl.interventions.base import Evidence as Evidence
from plasticity_rl.interventions.base import Intervention as Intervention
from plasticity_rl.interventions.base import Refresh as Refresh
from plasticity_rl.interventions.chain import assemble as assemble
from plasticity_rl.interventions.l2_init import L2Init as L2Init
from plasticity_rl.interventions.layer_norm import LayerNorm as LayerNorm
from plasticity_rl.interventions.nap import NormalizeAndProject as NormalizeAndProject
from plasticity_rl.interventions.redo import ReDo as ReDo
from plasticity_rl.interventions.reset import Reset as Reset
from plasticity_rl.interventions.shrink_and_perturb import ShrinkAndPerturb as ShrinkAndPerturb
from plasticity_rl.interventions.weight_decay import WeightDecay as WeightDecay
