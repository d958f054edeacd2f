//! The order of criteria that need others.

/// The places of all criteria, each after those that it needs. `needs` has the places that each
/// criterion needs.
///
/// # Errors
/// The places of criteria that need each other: each needs the next one, and the first is repeated
/// at the end.
pub(super) fn order(needs: &[&[usize]]) -> Result<Vec<usize>, Vec<usize>> {
    let mut left: Vec<usize> = needs.iter().map(|needs| needs.len()).collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); needs.len()];
    for (place, needs) in needs.iter().enumerate() {
        for need in *needs {
            if let Some(list) = needed_by.get_mut(*need) {
                list.push(place);
            }
        }
    }
    let is_ready = |(place, left): (usize, &usize)| (*left == 0).then_some(place);
    let mut order: Vec<usize> = left.iter().enumerate().filter_map(is_ready).collect();
    let mut next = 0;
    while let Some(place) = order.get(next).copied() {
        next += 1;
        for waiting in needed_by.get(place).into_iter().flatten() {
            if let Some(left) = left.get_mut(*waiting) {
                *left -= 1;
                if *left == 0 {
                    order.push(*waiting);
                }
            }
        }
    }
    if order.len() == needs.len() { Ok(order) } else { Err(cycle(needs, &left)) }
}

/// A cycle among the criteria that still have needs `left`.
fn cycle(needs: &[&[usize]], left: &[usize]) -> Vec<usize> {
    let waits = |place: &usize| left.get(*place).is_some_and(|left| *left > 0);
    let mut path: Vec<usize> = Vec::new();
    let mut place = (0..needs.len()).find(waits);
    // Every waiting criterion needs a waiting one, so that the path comes back to itself.
    while let Some(at) = place {
        if let Some(start) = path.iter().position(|seen| *seen == at) {
            path.drain(..start);
            let lowest = path.iter().enumerate().min_by_key(|(_, place)| **place);
            let lowest = lowest.map_or(0, |(number, _)| number);
            path.rotate_left(lowest);
            path.extend(path.first().copied());
            return path;
        }
        path.push(at);
        place = needs.get(at).and_then(|needs| needs.iter().copied().find(waits));
    }
    path
}
