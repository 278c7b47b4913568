# Shared by the scripts of this folder. Sourced, never executed.
# shellcheck shell=bash
#
# A testbed lives in one folder DIR. Its hosts n1, n2, ... and `head` are network namespaces, whose names begin with a
# number made from DIR, so that any number of testbeds may stand side by side.
PATH=$PATH:/usr/sbin:/sbin
# shellcheck disable=SC2034
subnet=10.77.0 # no namespace is linked to the machine's own network, so all testbeds use the same addresses

say() { echo "testbed: $*" >&2; }
die() {
  say "$*"
  exit 1
}
usage() { # the comment at the top of the script
  sed -n '2,/^[^#]/{/^#/{s/^# \{0,1\}//;p}}' "$0" >&2
  exit 2
}

need_root() { [ "$(id -u)" = 0 ] || die "needs root (it makes network namespaces)"; }

# need COMMAND=PACKAGE...
need() {
  local pair
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null ||
      die "${pair%%=*} is missing: run tools/setup --test, which installs the Debian package ${pair#*=}"
  done
}

# wait_for SECONDS COMMAND...: asks again and again until the command succeeds.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ $SECONDS -lt $end ] || return 1
    sleep 0.05
  done
}

# open_testbed DIR: sets dir, prefix and num_nodes.
open_testbed() {
  [ -f "$1/num_nodes" ] || die "no testbed in $1"
  dir=$(cd "$1" && pwd -P)
  num_nodes=$(cat "$dir/num_nodes")
  prefix=testbed$(printf %s "$dir" | cksum | cut -d ' ' -f 1)
}

hosts() { # all of them, head last
  seq -f 'n%g' "$num_nodes"
  echo head
}
namespace_of() { echo "$prefix-$1"; }
is_host() { [[ " $(hosts | tr '\n' ' ') " == *" $1 "* ]]; }
# in_network HOST COMMAND...: with that host's network, and else as it is. (`ip netns exec` would hide /sys/fs/cgroup.)
in_network() { nsenter --net="/run/netns/$(namespace_of "$1")" -- "${@:2}"; }

# Everything that runs on a host; nothing when the host is no longer there.
processes_on() {
  [ ! -e "/run/netns/$(namespace_of "$1")" ] || ip netns pids "$(namespace_of "$1")"
}

# kill_all HOST...: at once and without mercy; what was started meanwhile too.
kill_all() {
  local host pids
  none_left() {
    pids=$(for host in "$@"; do processes_on "$host"; done)
    [ -n "$pids" ] || return 0
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null || true
    return 1
  }
  wait_for 10 none_left "$@" || die "processes on $* do not end: $pids"
}
