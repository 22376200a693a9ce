# Light a fuse in the guest, or put it out. This runs in the guest, sent by its agent, in any POSIX sh:
#
#     sh -c "$(cat guest.sh)" quiesce-fuse-light-RUN light RUN SECONDS "$(cat fuse.sh)"
#     sh -c "$(cat guest.sh)" quiesce-fuse out RUN
#
# `light` puts out whatever fuse is there, and ends when the new one is lit. `out` ends when no fuse of that run is left, nor
# anybody who is about to light one, and prints whether there was one: 1 or 0.
#
# A fuse is found by its command line, whichever process looks for it. It is put out by URG, which every process ignores that
# did not ask for it: so nothing happens to one that has got the number of a fuse that has just gone.

PATH=/usr/sbin:/usr/bin:/sbin:/bin

pause() { sleep 0.1 2>/dev/null || sleep 1; }

put_out() {
    found=0 tries=50
    # [q]: not the command line of grep itself, whose status is no answer: it fails when some process has just ended.
    while fuses=$(grep -ls "[q]uiesce-fuse-$1" /proc/[0-9]*/cmdline) || [ "$fuses" ]; do
        found=1
        for fuse in $fuses; do
            fuse=${fuse#/proc/}
            kill -URG "${fuse%/*}" 2>/dev/null
        done
        tries=$((tries - 1))
        [ $tries -gt 0 ] || exit 3
        pause
    done
}

case $1 in
light)
    # What the fuse is going to need is here, and loaded.
    [ -r /proc/self/mountinfo ] && setsid fsfreeze --help >/dev/null 2>&1 || exit 2
    put_out '[0-9]'
    [ "$(setsid sh -c "$4" "quiesce-fuse-$2" "$3" 2>/dev/null &)" = lit ] || exit 1
    ;;
out)
    put_out "\(light-\)*$2"
    echo $found
    ;;
esac
