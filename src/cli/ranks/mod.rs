//! Training on several processes: who starts them, which of them this one is, and whether they agree.

mod agree;
#[cfg(feature = "mpi")]
mod launch;
mod place;
mod progress;

pub(in crate::cli) use agree::{Fact, refuse_differences, together};
pub(in crate::cli) use place::{Launched, launched};
pub(in crate::cli) use progress::Line;

use std::process::ExitCode;

use super::CliError;
#[cfg(feature = "mpi")]
use super::output;
use crate::ranks::{Communicator, Lonely};

/// What this process is to do.
pub(in crate::cli) enum Role {
    /// Train, as one of these ranks.
    Train(Group),
    /// Nothing: other processes have trained.
    #[cfg_attr(
        not(feature = "mpi"),
        expect(dead_code, reason = "nothing starts processes")
    )]
    Done(ExitCode),
}

/// The ranks of a run, seen from one of them.
pub(in crate::cli) enum Group {
    /// There is only one.
    Alone(Lonely),
    /// Processes of an MPI job.
    #[cfg(feature = "mpi")]
    Job(crate::ranks::mpi::World),
}

impl Group {
    /// How they talk.
    pub fn ranks(&self) -> &dyn Communicator {
        match self {
            Self::Alone(lonely) => lonely,
            #[cfg(feature = "mpi")]
            Self::Job(world) => world,
        }
    }

    /// Whether this is the rank that writes.
    pub fn writes(&self) -> bool {
        self.ranks().rank() == 0
    }

    /// Ends with what a rank has come to. An error on one of several ranks ends all, which would wait for it.
    pub fn end(self, result: Result<ExitCode, CliError>) -> Result<ExitCode, CliError> {
        match self {
            Self::Alone(_) => result,
            #[cfg(feature = "mpi")]
            Self::Job(world) => {
                let Err(error) = result else {
                    return result;
                };
                if error.is::<Told>() {
                    return Ok(ExitCode::SUCCESS);
                }
                if error.is::<Agreed>() || world.count() == 1 {
                    return Err(error);
                }
                output::speak();
                output::say_error!("error: rank {}: {error}", world.rank());
                world.abort(2)
            }
        }
    }
}

/// An error that all ranks know of, and which the first one tells.
#[derive(Debug)]
struct Agreed(String);

impl std::fmt::Display for Agreed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Agreed {}

/// The same on another rank than the first.
#[derive(Debug)]
struct Told;

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the first rank tells")
    }
}

impl std::error::Error for Told {}

/// Starts `wanted` ranks, unless `mpirun` or `srun` has started this process as one.
pub(in crate::cli) fn begin(wanted: Option<usize>) -> Result<Role, CliError> {
    let launched = launched(|name| std::env::var(name).ok())?;
    if let (Some(launched), Some(wanted)) = (&launched, wanted)
        && launched.count != wanted
    {
        return Err(format!(
            "--ranks {wanted}: {} has started {} ranks. Leave --ranks out, or let the two agree",
            launched.by, launched.count
        )
        .into());
    }
    let several = match &launched {
        Some(launched) => launched.count > 1,
        None => wanted.is_some_and(|wanted| wanted != 1),
    };
    if !several {
        return Ok(Role::Train(Group::Alone(Lonely)));
    }
    if let Some(count) = wanted.filter(|count| !count.is_power_of_two()) {
        let near = 1usize << count.max(1).ilog2();
        return Err(format!(
            "--ranks {count}: it must be a power of two, such as {near}, because shards are added in pairs"
        )
        .into());
    }
    start(launched, wanted)
}

#[cfg(not(feature = "mpi"))]
fn start(launched: Option<Launched>, wanted: Option<usize>) -> Result<Role, CliError> {
    let asked = match (launched, wanted) {
        (Some(launched), _) => format!("{} has started {} ranks", launched.by, launched.count),
        (None, wanted) => format!("--ranks {}", wanted.unwrap_or(1)),
    };
    Err(format!(
        "{asked}: this gtc was built without MPI and trains on one process. Build it with: cargo build --release --features mpi \
         (on Debian or Ubuntu it needs: apt-get install libopenmpi-dev openmpi-bin libclang-dev)"
    )
    .into())
}

#[cfg(feature = "mpi")]
fn start(launched: Option<Launched>, wanted: Option<usize>) -> Result<Role, CliError> {
    let Some(launched) = launched else {
        return Ok(Role::Done(launch::run(wanted.unwrap_or(1))?));
    };
    // Before any other thread reads the environment.
    launched.share_cores();
    let world = crate::ranks::mpi::World::join().ok_or(
        "MPI could not be started. Is another MPI loaded than the one that gtc was built with?",
    )?;
    if world.count() != launched.count {
        return Err(format!(
            "{} says that there are {} ranks, and MPI knows of {}: gtc was built with another MPI than the one that started it",
            launched.by,
            launched.count,
            world.count()
        )
        .into());
    }
    if world.rank() > 0 {
        output::keep_quiet();
    }
    Ok(Role::Train(Group::Job(world)))
}
