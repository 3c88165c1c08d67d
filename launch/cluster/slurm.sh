#!/usr/bin/env bash
# Sweep on the nodes of a Slurm job; all carry out runs, the first one writes. Submit it from the checkout, on a shared file system:
#
#     sbatch launch/cluster/slurm.sh FILE [OPTIONS OF `python -m launch sweep`]
#
# The same command resumes unfinished runs. For GPUs: `sbatch --gpus-per-node=1 ... FILE --gpus 1`.
#SBATCH --job-name=plasticity-rl
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=0
#SBATCH --exclusive
#SBATCH --time=24:00:00
set -euo pipefail
umask 077
if [[ $# -lt 1 ]]; then
    echo "error: sbatch launch/cluster/slurm.sh FILE [OPTIONS]" >&2
    exit 2
fi
checkout=${SLURM_SUBMIT_DIR:-$PWD}
cd "$checkout"
export PATH=$checkout/.venv/bin:$PATH
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300
python -m launch cluster token

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$first" hostname --ip-address | awk '{ print $1 }')
port=$((20000 + SLURM_JOB_ID % 20000))

# symmetric-run returns 0 even if Ray did not start, so the sweep marks its end with a file.
unfinished=$(mktemp "$HOME/.ray/unfinished-XXXXXX")
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
    ray symmetric-run --address "$address:$port" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --dashboard-host=127.0.0.1 --disable-usage-stats \
    -- bash -c 'python -m launch sweep "${@:2}" --on ray --address "$0" && rm "$1"' "$address:$port" "$unfinished" "$@"
if [[ -e $unfinished ]]; then
    rm "$unfinished"
    echo "error: the sweep did not come to its end" >&2
    exit 1
fi
