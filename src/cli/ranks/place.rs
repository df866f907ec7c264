//! What a launcher says of a process that it has started.

use crate::cli::CliError;

/// The place of this process among those that a launcher has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Launched {
    /// The launcher.
    pub by: &'static str,
    /// Processes in all.
    pub count: usize,
    /// Its number among those of this machine.
    pub local: usize,
    /// Processes of this machine.
    pub local_count: usize,
}

/// The variables of a launcher: processes, own number among those of a machine, how many those are.
const LAUNCHERS: [(&str, [&str; 3]); 3] = [
    (
        "mpirun",
        [
            "OMPI_COMM_WORLD_SIZE",
            "OMPI_COMM_WORLD_LOCAL_RANK",
            "OMPI_COMM_WORLD_LOCAL_SIZE",
        ],
    ),
    // Of a step, which srun starts: the script of a batch job has SLURM_NTASKS too, and is one process.
    (
        "srun",
        [
            "SLURM_STEP_NUM_TASKS",
            "SLURM_LOCALID",
            "SLURM_STEP_TASKS_PER_NODE",
        ],
    ),
    ("mpirun", ["PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"]),
];

/// What the environment says; nothing for a process that was started alone.
pub(in crate::cli) fn launched(
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<Launched>, CliError> {
    for (by, [count, local, local_count]) in LAUNCHERS {
        let Some(text) = variable(count) else {
            continue;
        };
        let number = |name: &str, default: usize| match variable(name) {
            None => Ok(default),
            // Of several machines "2(x3),1": those of the first are near enough.
            Some(text) => {
                let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
                let bad = |_| format!("{name} is '{text}', which is no number");
                digits.parse().map_err(bad)
            }
        };
        let all = number(count, 1)?;
        if all == 0 {
            return Err(format!("{count} is {text}: a job has a process at least").into());
        }
        return Ok(Some(Launched {
            by,
            count: all,
            local: number(local, 0)?,
            local_count: number(local_count, all)?.max(1),
        }));
    }
    Ok(None)
}

impl Launched {
    /// Threads of a driver on the CPU for each process of this machine.
    fn threads(&self, cores: usize) -> usize {
        (cores / self.local_count).max(1)
    }

    /// Gives a driver on the CPU this process's part of the cores, unless the user has said how many threads it has.
    #[cfg_attr(
        not(feature = "mpi"),
        expect(dead_code, reason = "only jobs share cores")
    )]
    pub fn share_cores(&self) {
        /// What lavapipe reads when it is loaded.
        const THREADS: &str = "LP_NUM_THREADS";
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        if std::env::var_os(THREADS).is_none() {
            let threads = self.threads(cores).to_string();
            // SAFETY: the program has started no thread yet.
            unsafe { std::env::set_var(THREADS, threads) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(variables: &[(&str, &str)]) -> Result<Option<Launched>, String> {
        let variable = |name: &str| {
            let known = variables.iter().find(|(known, _)| *known == name);
            known.map(|(_, value)| (*value).to_owned())
        };
        launched(variable).map_err(|e| e.to_string())
    }

    #[test]
    fn every_launcher_is_understood() {
        assert_eq!(found(&[("SLURM_NTASKS", "8")]), Ok(None));
        let open_mpi = [
            ("OMPI_COMM_WORLD_SIZE", "8"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "3"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "4"),
            // An allocation of Slurm that mpirun uses.
            ("SLURM_STEP_NUM_TASKS", "1"),
        ];
        let wanted = Launched {
            by: "mpirun",
            count: 8,
            local: 3,
            local_count: 4,
        };
        assert_eq!(found(&open_mpi), Ok(Some(wanted.clone())));
        assert_eq!([16, 4, 2].map(|cores| wanted.threads(cores)), [4, 1, 1]);
        let srun = [
            ("SLURM_STEP_NUM_TASKS", "16"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_TASKS_PER_NODE", "2(x8)"),
        ];
        let wanted = Launched {
            by: "srun",
            count: 16,
            local: 1,
            local_count: 2,
        };
        assert_eq!(found(&srun), Ok(Some(wanted)));
        let error = found(&[("PMI_SIZE", "many")]).unwrap_err();
        assert!(error.contains("PMI_SIZE is 'many'"), "{error}");
    }
}
