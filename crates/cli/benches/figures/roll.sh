# Rolls apps behind HAProxy, one at a time: drain by its socket, restart, check, back in.
# roll APP PORT…, with ADMIN as the port of HAProxy's socket; begins when it reads a line, ends when stdin does.
app=$1
shift
declare -a pids

start() {
    PORT=$2 EVERUP_VERSION=1 EVERUP_INSTANCE=$1 EVERUP_RELEASE=$PWD "$app" demo-app serve --database database \
        </dev/null >/dev/null 2>&1 &
    pids[$1]=$!
    until curl -fs -o /dev/null "http://127.0.0.1:$2/healthz"; do sleep 0.01; done
}

say() {
    exec 3<>"/dev/tcp/127.0.0.1/$ADMIN"
    printf '%s\n' "$1" >&3
    cat <&3
    exec 3>&-
}

n=0
for port in "$@"; do
    n=$((n + 1))
    start $n "$port"
done
echo ready
read -r _

n=0
for port in "$@"; do
    n=$((n + 1))
    say "set server b/s$n state drain" >/dev/null
    until [ "$(say 'show stat' | awk -F, -v s="s$n" '$1 == "b" && $2 == s { print $5 }')" = 0 ]; do sleep 0.01; done
    kill "${pids[$n]}"
    wait "${pids[$n]}" 2>/dev/null
    start $n "$port"
    say "set server b/s$n state ready" >/dev/null
done
echo done
read -r _
kill "${pids[@]}"
wait
