//! Whether ranks agree, and what they say if not.

use std::collections::BTreeMap;

use super::{Agreed, Told};
use crate::cli::CliError;
use crate::cli::output::say_error;
use crate::ranks::{Communicator, gather};

/// Waits for all ranks, and fails everywhere if one has failed: the first rank then knows the errors of all.
pub(in crate::cli) fn together<T>(
    ranks: &dyn Communicator,
    own: Result<T, CliError>,
) -> Result<T, CliError> {
    if ranks.count() == 1 {
        return own;
    }
    let text = match &own {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    let all = gather(ranks, text.as_bytes());
    let errors: Vec<String> = all
        .iter()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .collect();
    match (of_all(&errors), own) {
        (None, Ok(value)) => Ok(value),
        (Some(_), _) if ranks.rank() > 0 => Err(Box::new(Told)),
        (Some(error), _) => Err(Box::new(Agreed(error))),
        (None, Err(error)) => Err(error),
    }
}

/// The errors of all ranks, empty where all is well, as one.
fn of_all(errors: &[String]) -> Option<String> {
    let mut known: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (rank, error) in errors.iter().enumerate() {
        known.entry(error).or_default().push(rank.to_string());
    }
    match known.remove("") {
        None if known.len() == 1 => Some(errors[0].clone()),
        _ if known.is_empty() => None,
        // Some things only the first one does.
        _ if errors.iter().skip(1).all(String::is_empty) => Some(errors[0].clone()),
        _ => {
            let lines = known.iter().map(|(error, ranks)| {
                let noun = if ranks.len() > 1 { "ranks" } else { "rank" };
                format!("{noun} {}: {error}", ranks.join(", "))
            });
            Some(lines.collect::<Vec<_>>().join("\n"))
        }
    }
}

/// Something in which ranks must not differ.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub(in crate::cli) struct Fact {
    /// What it is.
    pub name: String,
    /// How it is here.
    pub value: String,
    /// Whether a difference only means that other numbers of ranks may give other bits.
    pub may_differ: bool,
}

impl Fact {
    pub fn new(name: &str, value: impl ToString) -> Self {
        Self {
            name: name.to_owned(),
            value: value.to_string(),
            may_differ: false,
        }
    }
}

/// Fails everywhere if ranks differ in what they must not differ in, and says so where they may.
pub(in crate::cli) fn refuse_differences(
    ranks: &dyn Communicator,
    own: &[Fact],
) -> Result<(), CliError> {
    let all = gather(ranks, &serde_json::to_vec(own)?);
    let read = |bytes: &Vec<u8>| serde_json::from_slice(bytes);
    let all: Result<Vec<Vec<Fact>>, _> = all.iter().map(read).collect();
    let found = match all {
        Ok(all) => {
            for note in differences(&all, true) {
                say_error!(
                    "note: {note}. On equal devices any number of ranks gives the same bits; on others it may not"
                );
            }
            differences(&all, false)
        }
        // A version that knows other facts.
        Err(_) => vec!["not all ranks run the same version of gtc".to_owned()],
    };
    let result = match found.is_empty() {
        true => Ok(()),
        false => Err(format!("the ranks do not agree:\n  {}", found.join("\n  ")).into()),
    };
    together(ranks, result)
}

/// In what ranks differ from the first one.
fn differences(all: &[Vec<Fact>], may_differ: bool) -> Vec<String> {
    let mut found = Vec::new();
    for (rank, facts) in all.iter().enumerate().skip(1) {
        let wanted = all[0].iter().filter(|fact| fact.may_differ == may_differ);
        for first in wanted {
            let other = facts.iter().find(|fact| fact.name == first.name);
            let other = other.map_or("unknown", |fact| fact.value.as_str());
            if other != first.value {
                found.push(format!(
                    "{} is {other} on rank {rank}, and {} on rank 0",
                    first.name, first.value
                ));
            }
        }
    }
    found
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::ranks::local;

    /// The error of every rank.
    fn on(
        count: usize,
        run: impl Fn(&dyn Communicator) -> Result<(), CliError> + Sync,
    ) -> Vec<String> {
        std::thread::scope(|scope| {
            let run = &run;
            let threads: Vec<_> = local(count)
                .into_iter()
                .map(|rank| scope.spawn(move || run(&rank).err().map(|e| e.to_string())))
                .collect();
            let errors = threads.into_iter().map(|t| t.join().unwrap());
            errors.map(Option::unwrap_or_default).collect()
        })
    }

    #[test]
    fn the_first_rank_knows_the_errors_of_all() {
        let fail = |which: fn(usize) -> bool, text: fn(usize) -> String| {
            on(4, move |ranks| {
                let own = match which(ranks.rank()) {
                    true => Err(text(ranks.rank()).into()),
                    false => Ok(()),
                };
                together(ranks, own)
            })
        };
        assert!(
            fail(|_| false, |_| String::new())
                .iter()
                .all(String::is_empty)
        );
        let same = fail(|_| true, |_| "no such file".to_owned());
        assert_eq!(same[0], "no such file");
        assert!(same[1..].iter().all(|e| !e.is_empty()), "nobody goes on");
        let some = fail(|rank| rank > 1, |_| "no such file".to_owned());
        assert_eq!(some[0], "ranks 2, 3: no such file");
        let others = fail(|rank| rank != 1, |rank| format!("error {}", rank / 2));
        assert_eq!(others[0], "rank 0: error 0\nranks 2, 3: error 1");
    }

    #[test]
    fn differences_are_named() {
        let facts = |rank: usize| {
            let mut facts = vec![
                Fact::new(
                    "the version of gtc",
                    if rank == 2 { "0.2.0" } else { "0.1.0" },
                ),
                Fact::new("batch_size", if rank == 1 { 32 } else { 64 }),
                Fact::new("the device", rank),
            ];
            facts[2].may_differ = true;
            facts
        };
        let all: Vec<_> = (0..3).map(facts).collect();
        assert_eq!(
            differences(&all, false),
            [
                "batch_size is 32 on rank 1, and 64 on rank 0",
                "the version of gtc is 0.2.0 on rank 2, and 0.1.0 on rank 0",
            ]
        );
        assert_eq!(differences(&all, true).len(), 2);
        let errors = on(2, |ranks| refuse_differences(ranks, &facts(ranks.rank())));
        assert!(
            errors[0].contains("batch_size is 32 on rank 1"),
            "{}",
            errors[0]
        );
        let same = on(2, |ranks| refuse_differences(ranks, &facts(0)));
        assert!(same.iter().all(String::is_empty), "{same:?}");
    }
}
