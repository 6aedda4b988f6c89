//! Which CPUs the threads of a run get.
//!
//! It must never put two polling threads on one CPU without saying so: they would only take turns, and every figure
//! would be about the scheduler.

use std::thread::ScopedJoinHandle;

use diagnose::counted;

use crate::console;
use crate::failure::Failure;

/// One CPU for each of `roles`, as given by `--cpus` or else the first ones of this process.
///
/// # Errors
/// [`Failure::Usage`] when the list does not fit the roles or names a CPU that this process hasn't got.
pub(crate) fn assign(
    roles: &[&str],
    given: Option<&[usize]>,
    available: &[usize],
) -> Result<Vec<usize>, Failure> {
    let listed = roles.join(",");
    let cpus = match given {
        Some(given) if given.len() != roles.len() => {
            return Err(Failure::Usage(format!(
                "--cpus names {}, but this run has {}: give --cpus {}",
                counted(given.len(), "CPU"),
                roles.len(),
                listed.to_uppercase()
            )));
        }
        Some(given) => given.to_vec(),
        None => (0..roles.len())
            .map(|i| available[i % available.len().max(1)])
            .collect(),
    };
    if let Some(cpu) = cpus.iter().find(|cpu| !available.contains(cpu)) {
        return Err(Failure::Usage(format!(
            "no such lcore: CPU {cpu} is not available to this process (available: {available:?}); change --cpus"
        )));
    }
    if cpus
        .iter()
        .enumerate()
        .any(|(i, cpu)| cpus[..i].contains(cpu))
    {
        console::log(format_args!(
            "warning: {listed} share a CPU ({cpus:?}); they take turns, so the figures say nothing about speed"
        ));
    }
    Ok(cpus)
}

/// The result of a command's thread. A thread that panicked is a bug, and says so.
///
/// # Errors
/// The thread's own, or [`Failure::Run`] when it panicked.
pub(crate) fn join<T>(thread: ScopedJoinHandle<'_, Result<T, Failure>>) -> Result<T, Failure> {
    syncline::threads::join(thread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_the_given_or_the_first_ones() {
        let roles = ["generator", "endpoint"];
        assert_eq!(assign(&roles, None, &[2, 5, 7]), Ok(vec![2, 5]));
        assert_eq!(assign(&roles, Some(&[7, 2]), &[2, 5, 7]), Ok(vec![7, 2]));
        assert_eq!(assign(&roles, None, &[4]), Ok(vec![4, 4]));
    }

    #[test]
    fn a_wrong_list_is_refused() {
        let roles = ["generator", "endpoint"];
        for given in [&[1][..], &[0, 1, 0], &[0, 9]] {
            assert!(matches!(
                assign(&roles, Some(given), &[0, 1]),
                Err(Failure::Usage(_))
            ));
        }
    }
}
