#!/bin/sh
# What a container can see and do, one finding a line, the same words on every engine. Runs inside, as root, with
# nothing but busybox; `syscalls` (from syscalls.c) beside it says which calls the filter lets through.
here=$(dirname "$0")
say() { echo "$*"; }
try() { name=$1; shift; "$@" >/dev/null 2>&1 && say "can: $name"; }

grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | sed 's/[[:space:]]\+/ /; s/^/status: /'
say "user map: $(tr -s ' ' </proc/self/uid_map)"
case $(cat /proc/1/comm) in sh | *-init) ;; *) say "pid 1: $(cat /proc/1/comm)" ;; esac

# Files that are the host's.
for f in kcore keys timer_list timer_stats sched_debug latency_stats interrupts acpi asound scsi kmsg kallsyms modules \
    iomem ioports vmallocinfo slabinfo config.gz sysrq-trigger mtrr; do
    [ -e "/proc/$f" ] || continue
    if [ -d "/proc/$f" ]; then [ -n "$(ls -A /proc/$f 2>/dev/null)" ] && say "lists: /proc/$f"
    else [ -n "$(head -c 1 /proc/$f 2>/dev/null | od -An -tx1)" ] && say "reads: /proc/$f"; fi
done
for d in /sys/firmware /sys/devices/virtual/powercap /sys/kernel/security /sys/kernel/debug /sys/kernel/tracing \
    /sys/fs/bpf /sys/fs/cgroup /sys/kernel/vmcoreinfo /sys/module; do
    [ -n "$(ls -A $d 2>/dev/null)" ] && say "lists: $d"
done
find /sys/devices/system/cpu -name thermal_throttle 2>/dev/null | while read -r d; do
    [ -n "$(ls -A "$d")" ] && say "lists: $d"
done
# Files of the kernel that can be opened for writing; opening alone changes nothing.
{ find /proc/sys /proc/fs /proc/irq /proc/bus /proc/acpi /proc/scsi -type f; find /proc -maxdepth 1 -type f; find /sys -type f; } 2>/dev/null |
    while read -r f; do { true >>"$f"; } 2>/dev/null && say "writes: $f"; done

# What can be done.
mkdir -p /tmp/audit && cd /tmp/audit || exit 1
try "mount a tmpfs" mount -t tmpfs none /mnt
try "mount proc" mount -t proc none /mnt
try "mount a cgroup" mount -t cgroup -o memory none /mnt
try "mount cgroup2" mount -t cgroup2 none /mnt
try "bind mounts" mount --bind /tmp /mnt
try "remount /proc/sys" mount -o remount,bind,rw /proc/sys
try "remount /sys" mount -o remount,rw /sys
try "unmount a mask" umount /proc/kcore
try "make a user namespace" unshare -U true
try "make a mount namespace" unshare -m true
try "make a network namespace" unshare -n true
try "make a pid namespace" unshare -p true
try "make a cgroup namespace" unshare -C true
try "join the namespaces of pid 1" nsenter -t 1 -m true
try "read the kernel's log" dmesg
try "set the host name" hostname evil
try "set the clock" date -s @0
try "add a network interface" ip link add evil type dummy
try "change an address" ip addr add 10.9.9.9/32 dev lo
try "change a route" ip route add 10.9.9.0/24 dev lo
try "load a module" insmod /dev/null
try "change a parameter" sysctl -w kernel.core_pattern=evil
try "raise its priority" nice -n -5 sh -c '[ "$(nice)" -lt 0 ]'
try "swap" swapon /dev/null
try "change root" chroot / true
try "ping" ping -c 1 -W 1 127.0.0.1
try "bind a low port" timeout 1 nc -l -p 80 -e true
try "lower its oom score" sh -c 'echo -1 >/proc/self/oom_score_adj'
try "trace pid 1" sh -c 'readlink /proc/1/root && head -c 1 /proc/1/mem'
for node in "c 1 1" "c 1 2" "c 1 4" "c 1 11" "c 10 200" "c 10 229" "c 10 237" "c 4 0" "c 5 1" "c 10 232" "c 108 0" \
    "b 7 0" "b 254 0" "b 253 0" "b 8 0" "b 252 0"; do
    rm -f node; mknod node $node 2>/dev/null || { say "no node: $node"; continue; }
    { true <node; } 2>/dev/null && say "opens: $node"
    { true >>node; } 2>/dev/null && say "opens for writing: $node"
done

# What is there.
find /dev | sed 's/^/device: /'
find / -xdev -type s 2>/dev/null | sed 's/^/socket: /'
ls /proc/self/fd | sed 's/^/descriptor: /'
# Bits of mount options that are weaker: writable, with setuid files, devices, programs.
awk '{ opts = "," $6 ","; weak = "";
       if (opts !~ /,ro,/) weak = weak " rw"; if (opts !~ /,nosuid,/) weak = weak " suid";
       if (opts !~ /,nodev,/) weak = weak " dev"; if (opts !~ /,noexec,/) weak = weak " exec";
       if ($5 !~ "^/(proc|sys)/..*") print "mount: " $5 weak; else if (weak ~ /rw/) print "mount: " $5 " rw" }' /proc/self/mountinfo
ulimit -a | sed 's/^/limit: /; s/[[:space:]]\+/ /g'
for f in /sys/fs/cgroup/devices/devices.list; do [ -e $f ] && sort $f | sed 's/^/device rule: /'; done
awk '{print "cgroup: " $0}' /proc/self/cgroup | sed 's/[0-9a-f]\{64\}/ID/; s#:/[^/]*/ID#:/ENGINE/ID#'
ls /sys/class/net | sed 's/^/interface: /'
env | sed 's/=.*//' | grep -vE '^(PWD|SHLVL|_)$' | sed 's/^/variable: /'
[ -x "$here/syscalls" ] && "$here/syscalls"
exit 0
