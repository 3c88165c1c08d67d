"""Synonyms of this project's words, for "did you mean": data only.

Names are compared without case, dashes and underscores.
"""

import re
from typing import NamedTuple


class Synonym(NamedTuple):
    """One idea with several names."""

    names: str
    """names used by others, separated by spaces"""
    ours: str = ""
    """this project's names, in the order tried; one counts if it is among the choices"""
    elsewhere: str = ""
    """clause that names the right option, for parts without any of `ours`"""


SYNONYMS = (
    # options of `report`
    Synonym("theirs others baselines", "--published"),
    # options of `run`
    Synonym("lr learning-rate step-size rate", "", "the learning rate is the schedule's: --schedule constant:rate=1e-3"),
    Synonym("env environment game task env-id", "games game --benchmark", "an environment is the benchmark: --benchmark atari:games=Pong"),
    Synonym("algo algorithm learner policy", "--agent agent"),
    Synonym("model net arch architecture torso encoder", "--network network"),
    Synonym("optim opt", "--optimizer optimizer"),
    Synonym("scheduler lr-schedule lr-scheduler anneal-lr", "--schedule schedule"),
    Synonym("intervention interventions method methods regularizer reset", "--chain chain"),
    Synonym("seeds num-seeds n-seeds replicas", "--members members"),
    Synonym("exp-name experiment-name run-name run-id tag project", "--name"),
    Synonym("output output-dir out-dir log-dir save-dir results-dir", "--out --runs"),
    Synonym("cuda gpu", "--device", "a GPU is chosen by --device cuda"),
    Synonym("eval eval-episodes num-eval-episodes eval-every", "--evaluate evaluate"),
    Synonym("log-every log-interval log-freq", "--diagnose-every diagnose_every record_every"),
    Synonym("save-every save-freq save-interval checkpoint-freq checkpoint-interval", "--checkpoint-every checkpoint_every"),
    Synonym("config cfg config-file", "--file"),
    Synonym("workers num-workers num-actors", "--actors actors"),
    Synonym("compile no-compile", "--eager", "updates are compiled unless --eager is given"),
    # fields of agents
    Synonym("decay", "gae_lambda q_lambda"),
    Synonym("steps", "n_step"),
    Synonym("pools", "num_pools"),
    Synonym("gamma discount-factor discount", "discount", "the discount is the agent's: --agent dqn:discount=0.99"),
    Synonym(
        "gae-lambda lambda lam td-lambda q-lambda",
        "gae_lambda q_lambda strength coefficient shrink",
        "lambda is the agent's: --agent ppo:gae_lambda=0.95 or pqn:q_lambda=0.65",
    ),
    Synonym("n-step multi-step n-steps", "n_step", "n-step returns are DQN's: --agent dqn:n_step=3"),
    Synonym(
        "n-steps num-steps rollout-length rollout-steps rollout unroll-length unroll",
        "rollout_length",
        "--agent ppo:rollout_length=128 says it",
    ),
    Synonym("num-envs n-envs envs num-environments environments", "num_envs", "environments are the agent's: --agent dqn:num_envs=8"),
    Synonym("batch-size bs minibatch-size batch", "batch_size minibatches", "the batch is the agent's: --agent dqn:batch_size=32"),
    Synonym("num-minibatches n-minibatches", "minibatches"),
    Synonym(
        "epochs n-epochs num-epochs update-epochs",
        "epochs updates",
        "budgets are the benchmark's, in updates or frames: --benchmark random-labels:updates=1000",
    ),
    Synonym(
        "target-update target-update-interval target-update-freq target-update-frequency target-network-frequency",
        "target_every",
        "target networks are DQN's: --agent dqn:target_every=2000",
    ),
    Synonym("buffer-size replay-size memory-size replay-capacity capacity", "replay", "the replay is DQN's: --agent dqn:replay=1000000"),
    Synonym("learning-starts min-buffer min-replay-size replay-start-size", "min_replay", "--agent dqn:min_replay=20000 says it"),
    Synonym("train-freq train-frequency update-every update-freq", "train_every", "--agent dqn:train_every=4 says it"),
    Synonym(
        "replay-ratio utd utd-ratio update-to-data gradient-steps updates-per-env-step",
        "updates_per_step",
        "the replay ratio is DQN's: --agent dqn:train_every=1,updates_per_step=8",
    ),
    Synonym("clip-range clip-coef clip-eps clip-epsilon clip", "clip_range", "clipped objectives are PPO's: --agent ppo:clip_range=0.2"),
    Synonym(
        "ent-coef entropy-coef entropy-coefficient entropy-cost beta-entropy entropy",
        "entropy_coef",
        "--agent ppo:entropy_coef=0.01 says it",
    ),
    Synonym("vf-coef value-coef critic-coef baseline-cost value-loss-coef critic", "value_coef", "--agent ppo:value_coef=0.5 says it"),
    Synonym(
        "eps-decay epsilon-decay exploration-fraction exploration",
        "exploration_fraction",
        "exploration is the agent's: --agent dqn:exploration_fraction=0.1",
    ),
    Synonym("eps-end epsilon-end eps-final exploration-final-eps", "final_epsilon"),
    Synonym("eval-eps eval-epsilon epsilon-eval", "evaluation_epsilon"),
    Synonym("num-atoms n-atoms bins atoms", "num_atoms"),
    Synonym("v-max v-min value-range limit", "v_max"),
    Synonym("num-quantiles n-quantiles", "fractions"),
    Synonym("per-alpha priority-exponent priority", "priority_exponent"),
    Synonym("per-beta importance-exponent correction", "importance_exponent"),
    Synonym("double-dqn ddqn", "double", "--agent dqn:double=true says it"),
    Synonym("reward-clip clip-rewards reward-scale", "rewards", "rewards are treated by the agent: --agent dqn:rewards=clip"),
    # fields of networks
    Synonym(
        "hidden-size hidden-dim hidden-units hidden num-units n-hidden units",
        "width hidden",
        "layers are as wide as the network says: --network mlp:width=100",
    ),
    Synonym("layers num-layers n-layers hidden-layers", "depth", "the depth is the network's: --network mlp:depth=3"),
    Synonym("act nonlinearity activation-fn activation-function", "activation", "--network mlp:activation=tanh says it"),
    Synonym("normalization norm-type normalisation", "norm", "--network mlp:norm=layer says it"),
    Synonym("dtype amp bf16 mixed-precision", "precision bfloat16", "--network nature:precision=bfloat16 says it"),
    Synonym("init initializer initialization weight-init", "initial", "--network mlp:initial=orthogonal says it"),
    # fields of optimizers
    Synonym(
        "eps epsilon", "epsilon final_epsilon", "epsilon is the optimizer's, --optimizer adam:epsilon=1e-8, or an agent's final_epsilon"
    ),
    Synonym("wd decoupled-decay", "weight_decay weight-decay", "--chain weight-decay says it"),
    Synonym("b1 betas", "beta1"),
    Synonym("b2", "beta2"),
    Synonym("mom", "momentum"),
    Synonym("smoothing alpha", "decay"),
    Synonym(
        "max-grad-norm grad-clip clip-grad gradient-clip grad-norm clip-grad-norm", "clip_norm", "--optimizer adam:clip_norm=10 says it"
    ),
    Synonym("adamw", "", "AdamW is adam with a weight decay: --optimizer adam:weight_decay=0.01"),
    # fields of benchmarks
    Synonym("num-tasks n-tasks", "tasks", "tasks are the benchmark's: --benchmark random-labels:tasks=20"),
    Synonym(
        "steps num-updates n-updates updates-per-task steps-per-task timesteps total-timesteps max-steps num-frames total-frames "
        "frames-per-task frames updates",
        "updates frames",
        "budgets are the benchmark's, in updates or frames: --benchmark cartpole:frames=100000",
    ),
    Synonym("sticky-actions repeat-action-probability", "sticky"),
    Synonym("full-action-space", "full_actions"),
    Synonym("noop-max", "noops"),
    Synonym("episodic-life terminal-on-life-loss", "life_loss"),
    Synonym("num-images n-images num-samples n-samples examples dataset-size", "images"),
    Synonym("mnist cifar10 cifar100 digits", "", "images are a benchmark's setting: --benchmark permuted-inputs:dataset=digits"),
    # fields of methods
    Synonym("coef coeff weight reg lambd alpha beta penalty", "strength coefficient"),
    Synonym("period freq frequency interval reset-every reset-freq reset-interval", "every"),
    Synonym("replacement-rate rr rho", "rate"),
    Synonym("maturity-threshold", "maturity"),
    Synonym("decay-rate ema polyak", "decay"),
    Synonym("threshold dormancy-threshold", "tau percentile"),
    Synonym("shrink-factor", "shrink"),
    Synonym("std noise-scale perturb-scale noise-std", "sigma perturb noise"),
    # methods
    Synonym("cbp contbp continualbp", "continual-backprop"),
    Synonym("ln layernorm layer-normalization", "layer-norm layer"),
    Synonym("bn batch-normalization", "batch-norm batch"),
    Synonym("rmsn rms-normalization", "rms-norm rms"),
    Synonym("l2-regularization l2-reg weight-regularization ridge", "l2"),
    Synonym("regen regenerative regenerative-regularization l2-initial l2-to-init", "l2-init"),
    Synonym("s&p snp sp shrink&perturb shrink-perturb", "shrink-and-perturb"),
    Synonym("snr self-normalised-resets", "self-normalized-resets"),
    Synonym("normalize-and-project n&p", "nap"),
    Synonym("dormant recycle recycling-dormant-neurons", "redo"),
    Synonym("grama gradient-redo", "regrama"),
    Synonym("cpr ccbp continuous-partial-resets", "calibrated-partial-resets"),
    Synonym("swr selective-weight-reinit selective-weight-reinitialisation", "selective-weight-reinitialization"),
    Synonym("fast-trac trac-optimizer", "trac"),
    Synonym("adam-relative relative-adam local-time", "adam-rel"),
    Synonym("set rigl sparse-training dynamic-sparse-training", "dynamic-sparsity"),
    Synonym("pruning random-pruning sparse sparsity", "static-sparsity"),
    Synonym("weight-norm wn unit-norm", "weight-normalization"),
    Synonym("ht h&t hare-tortoise", "hare-and-tortoise"),
    Synonym("pi injection", "plasticity-injection"),
    Synonym("c-chain chain-churn", "churn"),
    Synonym("pfo proximal-feature-optimization", "feature-trust-region"),
    Synonym("ban self-distillation distillation", "born-again"),
    Synonym("llf bottom-up", "layerwise"),
    Synonym("sr spectral-regularization spectral-reg", "spectral"),
    Synonym("sn spectral-normalization", "spectral-norm"),
    Synonym("wc clipping clip-weights", "weight-clipping"),
    Synonym("w2 wasserstein-init", "wasserstein"),
    Synonym("he kaiming he-init", "fan-in"),
    Synonym("ortho orthogonal-init", "orthogonal"),
    Synonym("deep-fourier fourier-features", "fourier"),
    Synonym("concatenated-relu", "crelu"),
    Synonym("lrelu", "leaky-relu"),
    Synonym("parametric-relu adalin", "prelu"),
    Synonym("scratch from-scratch fresh fresh-control re-init reinitialize full-reset resets", "reset"),
    Synonym("none baseline vanilla plain", "", "the plain agent is a chain of nothing: leave --chain out"),
    # words of other kinds
    Synonym("cnn nature-cnn conv convnet", "nature"),
    Synonym("resnet resnet-18", "resnet18 impala-cnn"),
    Synonym("impala-resnet", "impala-cnn"),
    Synonym("vit attention", "transformer"),
    Synonym("fc feedforward", "mlp"),
    Synonym("cosine cosine-annealing onecycle", "warmup-cosine"),
    Synonym("permuted-mnist pmnist input-permuted", "permuted-inputs"),
    Synonym("label-permuted label-permuted-mnist", "permuted-labels"),
    Synonym("random-label random-label-mnist rlmnist label-memorization", "random-labels"),
    Synonym("warm-start", "growing-data"),
    Synonym("lunar-lander-v3", "lunarlander"),
    Synonym("cartpole-v0", "cartpole"),
    Synonym("slowly-changing-regression scr bit-flipping", "slow-bits"),
    # commands
    Synonym("train start resume", "run"),
    Synonym("plot figures html", "report"),
    Synonym("download fetch datasets", "data"),
    Synonym("tensorboard tb", "board"),
    Synonym("ls list words help", "show"),
    Synonym("status progress", "watch"),
    Synonym("hpo hyperopt search", "tune"),
    Synonym("eval evaluate", "play"),
    Synonym("benchmark speed", "bench"),
)


def plain(name: str) -> str:
    """Name without case, dashes, underscores and version (`CartPole-v1` and `cartpole` are equal)."""
    return re.sub(r"-v\d+$|[-_\s]", "", name.lower())


def find(name: str) -> list[Synonym]:
    """Rows that list a name, in order."""
    return [row for row in SYNONYMS if plain(name) in map(plain, row.names.split())]
