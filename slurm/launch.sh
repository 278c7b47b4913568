# What score.sbatch and train.sbatch share. Sourced by them, in the project's folder.
# shellcheck shell=bash

# launch COMMAND [ARGUMENTS...]: `saber COMMAND ARGUMENTS...` on all tasks of the job.
launch() {
  local command=$1
  stop() {
    echo "slurm/$command.sbatch: $*" >&2
    exit 2
  }
  [ -n "${SLURM_JOB_ID:-}" ] || stop "runs in a job only: sbatch slurm/$command.sbatch"

  : "${SABER:=build/saber}" "${LAUNCHER:=srun}"
  LAUNCHER_ARGUMENTS=()
  if [ -f slurm/cluster.env ]; then
    # shellcheck source=/dev/null
    . slurm/cluster.env
  fi
  [ -x "$SABER" ] ||
    stop "no program $SABER: build it with tools/setup and tools/build, or name yours as SABER in slurm/cluster.env"

  local start
  case $LAUNCHER in
    # Without --kill-on-bad-exit the other ranks wait for one that died early until the job's time is up. The cores per
    # task must be repeated: srun does not take them from the job.
    # By default SLURM's PMIx lets the tasks of a node pass a barrier when all on that node are there. MPI_Init relies on
    # a barrier of all nodes: once in many starts the first message then hits a rank that is not ready, and it crashes.
    srun)
      export SLURM_PMIX_FENCE=${SLURM_PMIX_FENCE:-ring}
      start=(srun --mpi=pmix --kill-on-bad-exit=1 ${SLURM_CPUS_PER_TASK:+"--cpus-per-task=$SLURM_CPUS_PER_TASK"})
      ;;
    # It takes nodes and tasks from the job. It would bind each rank to one core.
    mpirun) start=(mpirun --quiet --bind-to none) ;;
    *) stop "LAUNCHER is '$LAUNCHER', wanted srun or mpirun" ;;
  esac
  echo "job $SLURM_JOB_ID: saber $command on ${SLURM_NTASKS:-?} tasks of $SLURM_JOB_NODELIST, started by $LAUNCHER"
  "${start[@]}" "${LAUNCHER_ARGUMENTS[@]}" "$SABER" "$@"
}
