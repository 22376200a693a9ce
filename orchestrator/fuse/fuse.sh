# The fuse itself: a process in the guest that thaws all file systems after a time, unless it is put out before.
#
#     sh -c "$(cat fuse.sh)" quiesce-fuse-RUN SECONDS
#
# It says `lit` when it is, and then nothing any more. URG puts it out. TERM makes it burn at once: that is how a guest that
# shuts down ends its processes, and it cannot while it is frozen.
#
# Once the guest is frozen, the fuse writes nothing. It only reads: its programs, which are in memory if `light` has just
# tried them, and which a frozen file system would still give; and the mounts, from the kernel.

trap '' HUP INT QUIT
trap 'kill $!' TERM
trap 'kill $!; exit' URG

# The end of the agent's service, with all that is in its control group, is not the end of this.
for group in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    [ -w $group/cgroup.procs ] && echo 0 >$group/cgroup.procs
done
# A guest that cannot write back its pages may run out of memory.
echo -1000 >/proc/self/oom_score_adj

echo lit
exec >/dev/null
sleep "$1" &
wait $!
trap '' TERM URG

# As the agent finds them: what has a device, and btrfs, which has none of its own. Each by itself: one may wait for another.
while read -r _ _ device _ mount options; do
    type=${options#* - }
    case "$device ${type%% *}" in
    "0:"*" btrfs") ;;
    "0:"*) continue ;;
    esac
    fsfreeze --unfreeze "$(printf %b "$mount")" &
done </proc/self/mountinfo
