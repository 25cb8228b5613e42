#!/usr/bin/env bash
# Provisions a Blender that can open a window, for the tests in this folder.
#
#     tests/gui/provision.sh [SUITE [DIR]]   make DIR (default: .gui in the repository root) hold the Blender of a suite
#                                            of Debian: sid (the default; Blender 5.2) or trixie (4.3)
#     tests/gui/provision.sh --clean [DIR]   remove it
#
# The bpy module from PyPI has no window, and the Debian this runs on has a Blender that is too old, so DIR/root is a
# small Debian with Blender in it, and beside it lie two executables that behave as `blender` does: arguments,
# environment, working directory, streams, exit status and signals pass through.
#
#     DIR/blender         imports blendtorch from this repository's sources, and Debian's zmq
#     DIR/blender-plain   has neither, as a user's Blender: what it imports comes with the add-on
#
# They see the repository and /tmp at their own paths; HOME is the caller's where that exists inside, else the chroot's
# own /root.
#
# Exit status: 0 done, 3 this machine lacks something (the message says what), anything else a step failed.
set -euo pipefail

readonly host_packages=(debootstrap xvfb xdotool imagemagick)
readonly host_commands=(debootstrap Xvfb xdotool import unshare flock)
# Blender's package only recommends a GL driver; cattr, requests and zstandard are what its extension manager imports.
readonly guest_packages=(
    blender libgl1 libgl1-mesa-dri libegl1 libxi6 libxxf86vm1 libxfixes3 libxrender1 libxkbcommon0
    python3-numpy python3-cattr python3-requests python3-zstandard libzmq5
)
# What only DIR/blender imports. Blender's Python ignores PYTHONPATH unless told otherwise, but it reads .pth files: an
# empty one lies in the chroot, and DIR/blender mounts a full one over it.
readonly source_packages=/opt/source-packages source_pth=/opt/blendtorch-source.pth
readonly empty_pth=/usr/lib/python3/dist-packages/blendtorch-source.pth
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
readonly repo

say() { echo "provision: $*" >&2; }
lacking() { say "cannot provide a Blender with a window: $*"; exit 3; }

usage() { sed -n '2,/^set -/{/^#/{s/^# \{0,1\}//;p}}' "${BASH_SOURCE[0]}"; }

check_machine() {
    grep -qsE '^ID(_LIKE)?=.*debian' /etc/os-release ||
        lacking "needs Debian (or a derivative) with apt-get and debootstrap"
    [[ $(id -u) == 0 ]] || lacking "needs root (debootstrap, mount and chroot); run it with sudo or in a container"
    unshare --mount true 2>/dev/null ||
        lacking "needs the right to mount (CAP_SYS_ADMIN); a container has to be started with --privileged"
}

install_host_packages() {
    local command_name lock
    exec {lock}<"${BASH_SOURCE[0]}"
    flock "$lock" # another suite may be provisioned at the same time
    for command_name in "${host_commands[@]}"; do
        if ! command -v "$command_name" >/dev/null; then
            say "installing ${host_packages[*]} on this machine ($command_name is missing)"
            # A third-party source that does not answer must not stop us: what counts is whether the install works.
            apt-get update -qq || true
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${host_packages[@]}" >/dev/null ||
                lacking "apt-get could not install ${host_packages[*]}"
            break
        fi
    done
    exec {lock}<&-
}

# The mirror this machine itself uses. Empty (debootstrap's default) where apt knows no Debian archive. The label keeps
# out the security archive, which has no sid.
debian_mirror() {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null |
        sed -n 1p || true
}

# A mount namespace of its own, so that nothing mounted for a step can outlive it, however the step ends.
in_guest() {
    unshare --mount sh -ec '
        root=$1; shift
        mount --rbind /proc "$root/proc"
        mount --rbind /dev "$root/dev"
        exec chroot "$root" env DEBIAN_FRONTEND=noninteractive HOME=/root LC_ALL=C.UTF-8 "$@"' sh "$root" "$@"
}

make_base_system() {
    local partial=$root.partial proxy='' mirror
    [[ ! -d $root ]] || return 0
    remove_tree "$partial"
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    [[ -z $proxy ]] || export http_proxy=$proxy
    mirror=$(debian_mirror)
    say "making a minimal Debian $suite in $root (about a minute)"
    unshare --mount debootstrap --variant=minbase "$suite" "$partial" ${mirror:+"$mirror"} >"$dir/debootstrap.log" 2>&1 || {
        tail -n 5 "$dir/debootstrap.log" >&2
        say "debootstrap failed; all it said is in $dir/debootstrap.log"
        return 1
    }
    mv "$partial" "$root" # under its final name only when complete: an interrupted run starts over
}

install_guest_packages() {
    local stamp=$root/.provisioned
    [[ $(cat "$stamp" 2>/dev/null) != "${guest_packages[*]}" ]] || return 0
    say "installing Blender in it (a few minutes)"
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    ln -sfn /proc/self/mounts "$root/etc/mtab" # Blender warns at each start without it
    # No package may start a service: it would run on this machine, not in the chroot.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod +x "$root/usr/sbin/policy-rc.d"
    # A frozen copy of the archive (a snapshot, a proxy) serves a sid that counts as expired after a week.
    in_guest apt-get update -qq -o Acquire::Check-Valid-Until=false
    in_guest apt-get install -y -qq --no-install-recommends "${guest_packages[@]}" >"$dir/apt.log" 2>&1 || {
        tail -n 5 "$dir/apt.log" >&2
        say "apt-get failed in the chroot; all it said is in $dir/apt.log"
        return 1
    }
    in_guest sh -ec '
        cd /var/cache/apt/archives
        apt-get download -qq python3-zmq
        dpkg -x python3-zmq_*.deb "$1"' sh "$source_packages" 2>>"$dir/apt.log"
    in_guest apt-get clean
    echo "${guest_packages[*]}" >"$stamp"
}

make_blendtorch_importable() {
    printf '%s\n' "$repo/client" "$source_packages/usr/lib/python3/dist-packages" >"$root$source_pth"
    : >"$root$empty_pth"
    mkdir -p "$root$repo" # where the wrapper mounts the repository
}

# Everything up to Blender is exec, so the process the caller started *is* Blender: its pid, its process group, its exit
# status. The mounts live in that process's own namespace and end with it: nothing is left to unmount, nothing is lost
# by a reboot, and no `git clean` or `rm -r` outside can walk through a mount into the repository or /dev.
#
#     write_wrapper NAME [PTH]    PTH: what to mount over the empty .pth file
write_wrapper() {
    local quoted_root quoted_repo
    printf -v quoted_root %q "$root"
    printf -v quoted_repo %q "$repo"
    cat >"$dir/$1.new" <<END
#!/bin/bash
# Written by tests/gui/provision.sh, which says what this is.
export BLENDTORCH_GUI_ROOT=$quoted_root BLENDTORCH_GUI_REPO=$quoted_repo
export BLENDTORCH_GUI_PTH=${2-} BLENDTORCH_GUI_EMPTY_PTH=$empty_pth
END
    cat >>"$dir/$1.new" <<'END'
[ "$(id -u)" = 0 ] || { echo "$0: needs root, for chroot" >&2; exit 126; }
exec unshare --mount --propagation slave /bin/bash -c '
    root=$BLENDTORCH_GUI_ROOT repo=$BLENDTORCH_GUI_REPO pth=$BLENDTORCH_GUI_PTH empty_pth=$BLENDTORCH_GUI_EMPTY_PTH
    unset BLENDTORCH_GUI_ROOT BLENDTORCH_GUI_REPO BLENDTORCH_GUI_PTH BLENDTORCH_GUI_EMPTY_PTH
    for shared in /proc /dev /tmp "$repo"; do
        mount --rbind "$shared" "$root$shared" || exit 126
    done
    [ -z "$pth" ] || mount --bind "$root$pth" "$root$empty_pth" || exit 126
    [ -n "$HOME" ] && [ -d "$root$HOME" ] || export HOME=/root
    here=$PWD
    [ -d "$root$here" ] || here=/
    exec chroot "$root" /usr/bin/env --chdir="$here" PATH="/usr/local/bin:/usr/bin:/bin:$PATH" /usr/bin/blender "$@"
' blender "$@"
END
    chmod +x "$dir/$1.new"
    mv "$dir/$1.new" "$dir/$1" # at once: a test may be starting it
}

# Python that a wrapper's Blender must run without an exception; prints what it printed after FOUND.
probe() {
    local output
    output=$("$dir/$1" -b --factory-startup --python-exit-code 1 --python-expr "$2" 2>&1) || {
        echo "$output" >&2
        say "the Blender in $dir does not work ($1)"
        return 1
    }
    sed -n 's/^FOUND //p' <<<"$output"
}

check_blender() {
    local found
    found=$(probe blender '
import importlib.util, platform
import bpy, numpy, zmq
assert importlib.util.find_spec("blendtorch"), "blendtorch is not on sys.path"
print("FOUND Blender", bpy.app.version_string, "Python", platform.python_version(), "pyzmq", zmq.__version__)
')
    probe blender-plain '
import importlib.util
for name in ("blendtorch", "zmq"):
    assert not importlib.util.find_spec(name), name + " is there without the add-on: an old provision? make clean"
'
    say "ready: $found, as $dir/blender and $dir/blender-plain"
}

mounts_below() { awk -v below="$1/" 'index($5 "/", below) == 1 {print $5}' /proc/self/mountinfo; }

# rm's --one-file-system is no protection from a bind mount of the same file system, so look for mounts first.
remove_tree() {
    [[ -e $1 ]] || return 0
    local point
    mounts_below "$1" | sort -r | while read -r point; do
        say "unmounting $point"
        umount -l "$point"
    done
    [[ -z $(mounts_below "$1") ]] || { say "still mounted below $1, so nothing is removed"; return 1; }
    rm -rf --one-file-system -- "$1"
}

clean() {
    local process
    [[ -d $dir ]] || { say "nothing to remove: there is no $dir"; return; }
    [[ $(id -u) == 0 ]] || lacking "removing it needs root, as making it did"
    for process in /proc/[0-9]*; do
        if [[ $(readlink "$process/root") == "$root" ]]; then
            say "process ${process#/proc/} still runs in $root, so nothing is removed"
            return 1
        fi
    done
    say "removing $dir"
    remove_tree "$root"
    remove_tree "$root.partial"
    rm -f -- "$dir"/{blender{,-plain}{,.new},debootstrap.log,apt.log,.lock}
    rmdir -- "$dir" # fails, rightly, if something that is not ours lies there
}

action=provision
case ${1-} in
-h | --help) usage; exit ;;
--clean) action=clean; shift ;;
-*) say "unknown option $1"; usage >&2; exit 2 ;;
esac
suite=sid
if [[ $action == provision && $# -gt 0 ]]; then
    suite=$1
    shift
fi
(($# <= 1)) && [[ $suite == sid || $suite == trixie ]] || { usage >&2; exit 2; }
dir=$(realpath -m -- "${1:-$repo/.gui}")
root=$dir/root

if [[ $action == clean ]]; then
    clean
    exit
fi
check_machine
mkdir -p "$dir"
exec {lock}>"$dir/.lock"
flock "$lock" # two test runs may ask at the same time
install_host_packages
make_base_system
install_guest_packages
make_blendtorch_importable
write_wrapper blender "$source_pth"
write_wrapper blender-plain
check_blender
