//! The profiles that score the rollouts of a request: that of the request, and those that rollouts
//! name themselves.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use guerdon_fusion::Scorer;
use guerdon_types::{Invalid, ProfileName, RolloutEntry, Versions};

use crate::observe::metrics::ProfileMetrics;

/// A profile as a request uses it: with the request's `sources` and `fusion`.
#[derive(Debug)]
pub(crate) struct ProfileInUse {
    pub(crate) scorer: Scorer,
    pub(crate) name: ProfileName,
    pub(crate) generation: u64,
    pub(crate) metrics: Arc<ProfileMetrics>,
    /// True if a source of the profile asks the rubrics of rollouts, whether or not the request
    /// names it.
    pub(crate) takes_rubrics: bool,
}

impl ProfileInUse {
    /// The versions at this moment: functions declare theirs in their replies.
    pub(crate) fn versions(&self) -> Versions {
        self.scorer.versions(self.name.clone(), self.generation)
    }
}

/// The versions behind the rewards of one request.
#[derive(Debug, Clone)]
pub(crate) struct RequestVersions {
    /// The versions of the request's profile.
    pub(crate) first: Versions,
    /// The versions of the further profiles that rollouts name, by name.
    pub(crate) further: BTreeMap<String, Versions>,
}

/// The profiles of one request.
#[derive(Debug)]
pub(crate) struct RequestProfiles {
    first: ProfileInUse,
    /// The further profiles that rollouts name.
    others: Vec<ProfileInUse>,
    /// The number of each rollout's profile: 0 is the first. Empty if there are no others.
    numbers: Vec<usize>,
}

impl RequestProfiles {
    /// The profiles of `entries`, opened by `open`. A rollout whose profile cannot be opened becomes
    /// an error of its own.
    ///
    /// # Errors
    /// The profile of the request cannot be opened.
    pub(crate) fn open(
        requested: Option<&ProfileName>,
        entries: &mut [RolloutEntry],
        mut open: impl FnMut(Option<&ProfileName>) -> Result<ProfileInUse, Invalid>,
    ) -> Result<Self, Invalid> {
        let mut known: HashMap<ProfileName, Result<usize, Invalid>> = HashMap::new();
        let mut first = None;
        if requested.is_none() {
            // A rollout that names an unknown profile has the error, not the request.
            for name in names_of_all(entries) {
                match open(Some(&name)) {
                    Ok(opened) => {
                        first = Some(opened);
                        break;
                    }
                    Err(invalid) => known.insert(name, Err(invalid)),
                };
            }
        }
        let first = match first {
            Some(first) => first,
            None => open(requested)?,
        };
        let mut profiles = Self { first, others: Vec::new(), numbers: Vec::new() };
        for index in 0..entries.len() {
            let Some(entry) = entries.get_mut(index) else { continue };
            let Ok(rollout) = &entry.rollout else { continue };
            let Some(name) = rollout.profile.as_ref().filter(|name| !profiles.is_first(name))
            else {
                continue;
            };
            let number = match known.get(name) {
                Some(number) => number.clone(),
                None => {
                    let number = open(Some(name)).map(|opened| {
                        profiles.others.push(opened);
                        profiles.others.len()
                    });
                    known.insert(name.clone(), number.clone());
                    number
                }
            };
            match number {
                Ok(number) => {
                    if profiles.numbers.is_empty() {
                        profiles.numbers = vec![0; entries.len()];
                    }
                    if let Some(own) = profiles.numbers.get_mut(index) {
                        *own = number;
                    }
                }
                Err(invalid) => entry.rollout = Err(of_rollout(invalid)),
            }
        }
        Ok(profiles)
    }

    fn is_first(&self, name: &ProfileName) -> bool {
        self.first.name == *name
    }

    /// The request's profile.
    pub(crate) const fn first(&self) -> &ProfileInUse {
        &self.first
    }

    /// The number of the profile of rollout `index`.
    pub(crate) fn number(&self, index: usize) -> usize {
        self.numbers.get(index).copied().unwrap_or_default()
    }

    /// The profile of rollout `index`.
    pub(crate) fn of(&self, index: usize) -> &ProfileInUse {
        self.numbered(self.number(index))
    }

    /// The profile with this number.
    pub(crate) fn numbered(&self, number: usize) -> &ProfileInUse {
        let other = number.checked_sub(1).and_then(|place| self.others.get(place));
        other.unwrap_or(&self.first)
    }

    /// All profiles.
    fn all(&self) -> impl Iterator<Item = &ProfileInUse> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// The versions that made the rewards, once all are made.
    pub(crate) fn versions(&self) -> RequestVersions {
        let further = self.others.iter().map(|one| (one.name.to_string(), one.versions()));
        RequestVersions { first: self.first.versions(), further: further.collect() }
    }

    /// The expected wait until every source accepts work again; `None` if all do now.
    pub(crate) fn full_for(&self) -> Option<Duration> {
        self.all().filter_map(|profile| profile.scorer.full_for()).max()
    }

    /// True if a profile settles the rollouts of a group together.
    pub(crate) fn settles_groups(&self) -> bool {
        self.all().any(|profile| profile.scorer.settles_groups())
    }
}

/// The name of the profile that is a request's own: the requested one, or the first known one that a
/// rollout names, if all name one.
pub(crate) fn own_name(
    requested: Option<&ProfileName>,
    entries: &[RolloutEntry],
    is_known: impl Fn(&ProfileName) -> bool,
) -> Option<ProfileName> {
    let named = || names_of_all(entries).into_iter().find(is_known);
    requested.cloned().or_else(named)
}

/// The distinct profiles of the rollouts in their order, if every rollout that can be scored names
/// one.
fn names_of_all(entries: &[RolloutEntry]) -> Vec<ProfileName> {
    let mut names: Vec<ProfileName> = Vec::new();
    let mut seen = HashSet::new();
    for rollout in entries.iter().filter_map(|entry| entry.rollout.as_ref().ok()) {
        let Some(name) = &rollout.profile else { return Vec::new() };
        if seen.insert(name) {
            names.push(name.clone());
        }
    }
    names
}

/// The error of a request with one profile as the error of a rollout, whose pointer starts at the
/// rollout.
fn of_rollout(mut invalid: Invalid) -> Invalid {
    "/profile".clone_into(&mut invalid.pointer);
    invalid
}
