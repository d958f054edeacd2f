//! The graph of the names that hold each other's values.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::flow::{Flow, Name};

/// The greatest number of times that a value may hold another one, without a loop.
const MOST_COPIES: u64 = 1024;
/// The greatest number of assignments that are compared with each other.
const MOST_ASSIGNMENTS: usize = 500;

/// An assignment that makes a value ever larger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Growth {
    /// The assigned name.
    pub(crate) name: String,
    /// The place of the assignment in the template.
    pub(crate) place: Range<usize>,
}

/// A value that is given a name.
#[derive(Debug, Clone)]
pub(super) struct Assignment<'a> {
    pub(super) target: Name<'a>,
    pub(super) flow: Flow<'a>,
    pub(super) place: Range<usize>,
}

pub(super) struct Graph<'a> {
    assignments: Vec<Assignment<'a>>,
    /// For each name the names whose values it may hold, directly or not.
    held: BTreeMap<Name<'a>, BTreeSet<Name<'a>>>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(assignments: Vec<Assignment<'a>>) -> Self {
        let mut direct: BTreeMap<Name<'a>, BTreeSet<Name<'a>>> = BTreeMap::new();
        for Assignment { target, flow, .. } in &assignments {
            direct.entry(*target).or_default().extend(flow.0.keys());
        }
        let held = direct.keys().map(|name| (*name, reached(&direct, *name))).collect();
        Self { assignments, held }
    }

    /// The first assignment that makes a value ever larger.
    pub(super) fn growth(&self) -> Option<Growth> {
        if let Some(first) = self.assignments.get(MOST_ASSIGNMENTS) {
            return Some(grown(first));
        }
        let grows = |one: &&Assignment<'a>| {
            let own = one.flow.0.iter().filter(|(name, _)| self.is_cycle(one.target, **name));
            let (count, nested) = own.fold((0, false), |(count, nested), (_, share)| {
                (share.count.saturating_add(count), nested || share.nested)
            });
            nested || count > 1
        };
        self.assignments.iter().find(grows).or_else(|| self.copies()).map(grown)
    }

    /// True if `target`, which holds `name`, is itself held by it.
    fn is_cycle(&self, target: Name<'a>, name: Name<'a>) -> bool {
        target == name || self.held.get(&name).is_some_and(|held| held.contains(&target))
    }

    /// The first assignment of a value that holds another one too many times.
    fn copies(&self) -> Option<&Assignment<'a>> {
        let mut known = BTreeMap::new();
        let sizes = self.assignments.iter().map(|one| (one, self.size(one.target, &mut known)));
        sizes.into_iter().find(|(_, size)| *size > MOST_COPIES).map(|(one, _)| one)
    }

    /// The number of values of other names that a value of `name` holds. Names that hold each other
    /// grow by a fixed amount in each round and count once.
    fn size(&self, name: Name<'a>, known: &mut BTreeMap<Name<'a>, u64>) -> u64 {
        if let Some(size) = known.get(&name) {
            return *size;
        }
        let mut largest = 1;
        for one in self.assignments.iter().filter(|one| one.target == name) {
            let mut size: u64 = 0;
            for (inner, share) in &one.flow.0 {
                let each = if self.is_cycle(name, *inner) { 1 } else { self.size(*inner, known) };
                size = size.saturating_add(each.saturating_mul(share.count));
            }
            largest = largest.max(size);
        }
        known.insert(name, largest);
        largest
    }
}

fn grown(assignment: &Assignment<'_>) -> Growth {
    Growth { name: assignment.target.text().to_owned(), place: assignment.place.clone() }
}

/// The names that can be reached from `from`.
fn reached<'a>(
    direct: &BTreeMap<Name<'a>, BTreeSet<Name<'a>>>,
    from: Name<'a>,
) -> BTreeSet<Name<'a>> {
    let mut reached = BTreeSet::new();
    let mut pending = vec![from];
    while let Some(name) = pending.pop() {
        let next = direct.get(&name).into_iter().flatten();
        pending.extend(next.filter(|name| reached.insert(**name)));
    }
    reached
}
