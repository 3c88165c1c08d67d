#!/usr/bin/env bash
# Start a Ray cluster on this machine, protected by a token, as Ray listens on all interfaces. Workers carry out runs, the head does not.
#
#     launch/cluster/up.sh [WORKERS] [CPUS_OF_EACH]
#     python -m launch cluster check
#     python -m launch sweep FILE --on ray --address auto
#     launch/cluster/down.sh
#
# The environment variable PORT (default 6379) identifies the cluster. The first worker has the GPUs. Linux only, as for Ray workers.
set -euo pipefail
umask 077
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
port=${PORT:-6379}
workers=${1:-2}
processors=$(nproc)
each=${2:-$((processors > workers ? processors / workers : 1))}
state=$HOME/.ray/up-$port

fail() {
    echo "error: $1" >&2
    exit 2
}

[[ $workers =~ ^[1-9][0-9]{0,2}$ && $each =~ ^[1-9][0-9]{0,3}$ ]] || fail "WORKERS and CPUS_OF_EACH are whole numbers from 1, not $workers and $each"
[[ $port =~ ^[1-9][0-9]{3,4}$ ]] || fail "PORT must be a number from 1000, not $port"
[[ ! -e $state ]] || fail "a cluster is up at port $port, or was left there: launch/cluster/down.sh"

if [[ -x $checkout/.venv/bin/ray ]]; then PATH=$checkout/.venv/bin:$PATH; fi
command -v ray >/dev/null || fail "no ray: make, or pip install '.[testbed]'"
unset RAY_ADDRESS
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
(cd "$checkout" && python -m launch cluster token)

mkdir -p "$state"
folder=$(mktemp -d -t ray-XXXXXX) # short: socket paths are limited to 107 characters; private: Ray makes its own folder accessible to all
echo "$folder" >"$state/folder"
memory=$(awk -v nodes=$((workers + 1)) '/^MemTotal/ { printf "%d", $2 * 1024 * 0.3 / nodes }' /proc/meminfo) # Ray: 0.3 of all per node

begin() { # name, then options of `ray start`
    local log=$state/$1.log
    shift
    setsid ray start --node-ip-address=127.0.0.1 --object-store-memory="$memory" --min-worker-port=0 --max-worker-port=0 \
        --disable-usage-stats --block "$@" </dev/null >"$log" 2>&1 &
    echo $! >>"$state/processes"
}

await() { # name, process
    for _ in $(seq 240); do
        if grep -q "block forever" "$state/$1.log"; then return; fi
        if ! kill -0 "$2" 2>/dev/null; then break; fi
        sleep 0.25
    done
    tail -n 20 "$state/$1.log" >&2
    PORT=$port "$checkout/launch/cluster/down.sh" >&2 || true
    fail "$1 did not start"
}

begin head --head --port="$port" --num-cpus=0 --num-gpus=0 --temp-dir="$folder/ray" --dashboard-host=127.0.0.1 --ray-client-server-port=$((port + 1))
await head "$(tail -n 1 "$state/processes")"
for ((number = 1; number <= workers; number++)); do # one at a time: two that start together can choose the same sockets
    if ((number == 1)); then gpus=(); else gpus=(--num-gpus=0); fi
    begin "worker$number" --address="127.0.0.1:$port" --num-cpus="$each" "${gpus[@]}"
    await "worker$number" "$(tail -n 1 "$state/processes")"
done
echo "up: $workers workers of $each CPUs at 127.0.0.1:$port; logs in $state"
echo "export RAY_ADDRESS=127.0.0.1:$port"
