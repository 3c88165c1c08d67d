"""All interventions, one file each. A chain is a tuple of them, in order.

Not interventions: width and depth are fields of a network; categorical heads are fields of agents (`objective` of Supervised: two-hot and
hl-gauss; `value` of DQN: c51, two-hot and iqn); optimizers and learning-rate schedules stand in plasticity_rl/optim.
"""

from plasticity_rl.interventions.adam_rel import AdamRel as AdamRel
from plasticity_rl.interventions.aid import AID as AID
from plasticity_rl.interventions.base import Intervention as Intervention
from plasticity_rl.interventions.base import Refresh as Refresh
from plasticity_rl.interventions.base import RefreshContext as RefreshContext
from plasticity_rl.interventions.batch_mean_norm import BatchMeanNorm as BatchMeanNorm
from plasticity_rl.interventions.batch_norm import BatchNorm as BatchNorm
from plasticity_rl.interventions.born_again import BornAgain as BornAgain
from plasticity_rl.interventions.calibrated_partial_resets import CalibratedPartialResets as CalibratedPartialResets
from plasticity_rl.interventions.chain import assemble as assemble
from plasticity_rl.interventions.churn import Churn as Churn
from plasticity_rl.interventions.continual_backprop import ContinualBackprop as ContinualBackprop
from plasticity_rl.interventions.crelu import CReLU as CReLU
from plasticity_rl.interventions.dash import DASH as DASH
from plasticity_rl.interventions.dynamic_sparsity import DynamicSparsity as DynamicSparsity
from plasticity_rl.interventions.effective_rank import EffectiveRank as EffectiveRank
from plasticity_rl.interventions.fan_in import FanIn as FanIn
from plasticity_rl.interventions.feature_norm import FeatureNorm as FeatureNorm
from plasticity_rl.interventions.feature_trust_region import FeatureTrustRegion as FeatureTrustRegion
from plasticity_rl.interventions.fire import FIRE as FIRE
from plasticity_rl.interventions.fourier import Fourier as Fourier
from plasticity_rl.interventions.gelu import GELU as GELU
from plasticity_rl.interventions.hare_and_tortoise import HareAndTortoise as HareAndTortoise
from plasticity_rl.interventions.infer import InFeR as InFeR
from plasticity_rl.interventions.l2 import L2 as L2
from plasticity_rl.interventions.l2_init import L2Init as L2Init
from plasticity_rl.interventions.layer_norm import LayerNorm as LayerNorm
from plasticity_rl.interventions.layer_rates import LayerRates as LayerRates
from plasticity_rl.interventions.layerwise import Layerwise as Layerwise
from plasticity_rl.interventions.leaky_relu import LeakyReLU as LeakyReLU
from plasticity_rl.interventions.low_rank import LowRank as LowRank
from plasticity_rl.interventions.nap import NormalizeAndProject as NormalizeAndProject
from plasticity_rl.interventions.noisy_updates import NoisyUpdates as NoisyUpdates
from plasticity_rl.interventions.norm_constraint import NormConstraint as NormConstraint
from plasticity_rl.interventions.orthogonal import Orthogonal as Orthogonal
from plasticity_rl.interventions.parseval import Parseval as Parseval
from plasticity_rl.interventions.plasticity_injection import PlasticityInjection as PlasticityInjection
from plasticity_rl.interventions.powerprop import Powerprop as Powerprop
from plasticity_rl.interventions.prelu import PReLU as PReLU
from plasticity_rl.interventions.redo import ReDo as ReDo
from plasticity_rl.interventions.regrama import ReGraMa as ReGraMa
from plasticity_rl.interventions.reset import Reset as Reset
from plasticity_rl.interventions.rms_norm import RMSNorm as RMSNorm
from plasticity_rl.interventions.safe_adam import SafeAdam as SafeAdam
from plasticity_rl.interventions.selective_weight_reinitialization import SelectiveWeightReinitialization as SelectiveWeightReinitialization
from plasticity_rl.interventions.self_normalized_resets import SelfNormalizedResets as SelfNormalizedResets
from plasticity_rl.interventions.shrink_and_perturb import ShrinkAndPerturb as ShrinkAndPerturb
from plasticity_rl.interventions.smooth_leaky import SmoothLeaky as SmoothLeaky
from plasticity_rl.interventions.soft_reset import SoftReset as SoftReset
from plasticity_rl.interventions.spectral import Spectral as Spectral
from plasticity_rl.interventions.spectral_norm import SpectralNorm as SpectralNorm
from plasticity_rl.interventions.static_sparsity import StaticSparsity as StaticSparsity
from plasticity_rl.interventions.tailored import Tailored as Tailored
from plasticity_rl.interventions.tanh import Tanh as Tanh
from plasticity_rl.interventions.trac import TRAC as TRAC
from plasticity_rl.interventions.wasserstein import Wasserstein as Wasserstein
from plasticity_rl.interventions.weight_clipping import WeightClipping as WeightClipping
from plasticity_rl.interventions.weight_decay import WeightDecay as WeightDecay
from plasticity_rl.interventions.weight_normalization import WeightNormalization as WeightNormalization
