# The SLURM cluster of `up --slurm`. Sourced, never executed: uses here, dir, nodes, cpus of that script.
# shellcheck shell=bash disable=SC2154

write_slurm_conf() {
  : >"$dir/etc/plugstack.conf"
  cat >"$dir/etc/slurm.conf" <<CONF
ClusterName=testbed
SlurmctldHost=head($subnet.254)
SlurmUser=root
SlurmdUser=root
MailProg=/bin/true

# cred_expire is also how long a requeued job waits before it may start again (SLURM's default: 120 s).
AuthType=auth/munge
AuthInfo=socket=$dir/run/munge.socket,cred_expire=5
CredType=cred/munge

# %n is the node's name. TmpFS must differ per node: the pmix plugin makes its folders there.
StateSaveLocation=$dir/state
SlurmctldPidFile=$dir/run/slurmctld.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdSpoolDir=$dir/spool/%n
SlurmdPidFile=$dir/run/slurmd-%n.pid
SlurmdLogFile=$dir/log/slurmd-%n.log
TmpFS=$dir/tmp/%n
PlugStackConfig=$dir/etc/plugstack.conf

# No cgroups; the CPUs are believed, not counted.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none

# No data base: scontrol shows an ended job for MinJobAge seconds.
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MinJobAge=7200

# Short times, so that failures show in seconds.
SlurmdTimeout=10
SlurmctldTimeout=10
KillWait=5
BatchStartTimeout=10
ReturnToService=2
SchedulerParameters=sched_interval=2,bf_interval=2

NodeName=DEFAULT CPUs=$cpus State=UNKNOWN
$(for ((i = 1; i <= nodes; i++)); do echo "NodeName=n$i NodeAddr=$subnet.$i"; done)
PartitionName=main Nodes=ALL Default=YES MaxTime=UNLIMITED DefaultTime=10 State=UP OverSubscribe=NO
CONF
}

# in_background HOST LOG COMMAND...
in_background() {
  setsid "$here/node" "$dir" "$1" exec "${@:3}" </dev/null >>"$dir/log/$2" 2>&1 &
}

start_slurm() {
  mkdir "$dir/state"
  write_slurm_conf
  (umask 077 && head -c 64 /dev/urandom >"$dir/etc/munge.key")
  in_background head munged.log munged --foreground --force --key-file="$dir/etc/munge.key" \
    --socket="$dir/run/munge.socket" --pid-file="$dir/run/munged.pid" --seed-file="$dir/state/munge.seed"
  wait_for 10 test -S "$dir/run/munge.socket"
  in_background head slurmctld.stderr slurmctld -D -f "$dir/etc/slurm.conf"
  for ((i = 1; i <= nodes; i++)); do
    mkdir -p "$dir/spool/n$i"
    in_background "n$i" "slurmd-n$i.stderr" slurmd -D -f "$dir/etc/slurm.conf" -N "n$i"
  done
  all_idle() {
    [ "$(timeout 10 "$here/node" "$dir" head exec sinfo -h -N -t idle -o %N 2>/dev/null | wc -l)" = "$nodes" ]
  }
  wait_for 30 all_idle
}
