#!/usr/bin/env bash
# End only the cluster that up.sh started at PORT (6379): `ray stop` would end every Ray process of this user.
set -euo pipefail
port=${PORT:-6379}
state=$HOME/.ray/up-$port

is_ours() { # the process id may have been reused
    tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -q "ray start .*--block"
}

end() { # arguments: processes; SIGTERM first, SIGKILL after a minute
    local process
    for process in "$@"; do if is_ours "$process"; then kill -TERM "$process" || true; fi; done
    for process in "$@"; do
        for _ in $(seq 240); do
            is_ours "$process" || break
            sleep 0.25
        done
        if is_ours "$process"; then kill -KILL -- "-$process" || true; fi
    done
}

if [[ ! -d $state ]]; then
    echo "error: no cluster of up.sh at port $port" >&2
    exit 2
fi
processes=()
if [[ -f $state/processes ]]; then mapfile -t processes <"$state/processes"; fi
end "${processes[@]:1}"
end "${processes[@]:0:1}"
if [[ -f $state/folder ]]; then rm -rf -- "$(cat "$state/folder")"; fi
rm -rf -- "$state"
echo "down: port $port"
