# Write back the guest's dirty pages. This runs in the guest, sent by its agent, in any POSIX sh:
#
#     sh -c "$(cat guest.sh)" quiesce-flush sync|gentle SECONDS
#
# It prints Dirty + Writeback of /proc/meminfo before and after, in kB. `sync` is one sync(1). `gentle` lowers
# vm.dirty_background_bytes, so that the kernel's own flusher writes everything back while nobody waits for it, and bounds
# what the flusher has in flight on each disk, because the application's flush waits behind exactly that. It ends when little
# is left, when that no longer shrinks, or after SECONDS, and puts every setting back.
#
# `gentle` is three processes, so that each of them may be killed:
#   the pacer   lowers the settings, waits, and goes when one of the other two has gone;
#   the keeper  reads a pipe from the pacer until it closes, however that came, and then restores;
#   the shell   waits for both, and restores if the keeper was killed. Ending it (TERM) ends the flush.
# Nothing here writes to a file system of the guest: its root may be read-only, and may be frozen meanwhile.

vm=/proc/sys/vm
# Bytes, about 1 MiB. Odd, so that nobody else's: it is also the mark by which a later flush knows that this one goes on.
mark=1048573
# 4 requests of 64 kB: 13 ms on a disk of 20 MB/s. Enough for 80 MB/s where a request takes 3 ms.
requests=4 request_kb=64
# kB that may be left: the freeze writes them in 0.1 s at 20 MB/s.
little=2048

measure() {
    [ -r /proc/meminfo ] || return 0 # not a Linux: nothing to tell
    left=0
    while read -r key kb _; do
        case $key in Dirty: | Writeback:) left=$((left + kb)) ;; esac
    done </proc/meminfo
    read -r now _ </proc/uptime
    now=${now%.*}
}

# Not `read`: shells read byte by byte, and the kernel gives only the first byte of such a file.
dirty() { cat "$vm/dirty_$1"; }

marked() { [ "$(dirty background_bytes)" = $mark ]; }

pause() { sleep 0.1 2>/dev/null || sleep 1; }

# What is to be lowered: FILE, its value, and the lower one. The mark is the last.
settings() {
    for disk in /sys/block/*; do
        [ -e "$disk/device" ] || continue # a mapping or a loop: the disk below it counts
        # The scheduler's limit for writes spares the reads; not every scheduler has one.
        number=$disk/queue/iosched/async_depth
        [ -e "$number" ] || number=$disk/queue/nr_requests
        lower "$number" $requests
        lower "$disk/queue/max_sectors_kb" $request_kb
    done
    # The kernel knows one of the two, and shows the other as 0.
    kind=background_bytes
    [ "$(dirty $kind)" != 0 ] || kind=background_ratio
    echo "$vm/dirty_$kind $(dirty $kind) $mark"
}

lower() { read -r is <"$1" && [ "$is" -gt "$2" ] && echo "$1 $is $2"; }

# Builtins only: it must not need anything from a disk.
restore() {
    set -- $saved
    while [ $# -ge 3 ]; do
        echo "$2" >"$1"
        shift 3
    done
}

pace() {
    set -- $saved
    while [ $# -gt 3 ]; do
        echo "$3" >"$1"
        shift 3
    done 2>/dev/null # a disk that takes no limit, or has gone
    echo $mark >$vm/dirty_background_bytes || return
    # How long nothing may shrink, in seconds: the flusher may first sleep out its interval, which is 5 s by default.
    patience=$(($(dirty writeback_centisecs) / 100 + 2)) least=$left since=$now
    while [ "$left" -gt $little ] && [ "$now" -lt "$end" ] && [ $((now - since)) -lt $patience ]; do
        kill -0 $$ && echo || return # the shell, or the keeper, has gone
        pause
        measure
        [ "$left" -lt "$least" ] && least=$left since=$now
    done
}

keep() {
    trap '' HUP INT TERM # a stopped agent's service takes its children along
    while read -r _; do :; done
    restore
}

gentle() {
    [ -w $vm/dirty_background_bytes ] || exit 2
    while marked; do # an earlier run's flush, whose caller died
        [ "$now" -lt "$end" ] || exit 3
        pause
        measure
    done
    [ "$left" -gt $little ] || return 0
    saved=$(settings)
    set -- $saved
    [ $(($# % 3)) = 0 ] || exit 2 # something could not be read, hence not be restored
    pace | keep || restore
}

measure
echo "before $left"
end=$((now + $2))
$1 2>/dev/null || exit 1
measure
echo "after $left"
