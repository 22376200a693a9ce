# Says what a freeze may stumble over: how long the guest is up, the agent's freeze hook, the mounts. Changes nothing.
# Run by the agent itself, so the parent is the agent, whose command line names its hook.
read -r up rest </proc/uptime && echo "uptime ${up%%.*}"

hook=
next=
for word in $(tr '\0' ' ' </proc/$PPID/cmdline); do
    case $next$word in
        next-*) hook=default next= ;;
        next*) hook=$word next= ;;
    esac
    case $word in
        -F | --fsfreeze-hook) hook=default next=next ;;
        -F*) hook=${word#-F} ;;
        --fsfreeze-hook=*) hook=${word#*=} ;;
    esac
done
[ -n "$hook" ] || hook=$(sed -n 's/^ *fsfreeze-hook *= *//p' /etc/qemu/qemu-ga.conf 2>/dev/null | head -n 1)
[ "$hook" = default ] && hook=/etc/qemu/fsfreeze-hook
if [ -z "$hook" ]; then
    echo "hook none"
elif [ -x "$hook" ]; then
    echo "hook there $hook"
else
    echo "hook missing $hook"
fi

# Source, mount point and type. A line that is too much is cut, and then it fits nothing.
head -c 262144 /proc/mounts | while read -r source mount type rest; do
    echo "mount $type $source $mount"
done
