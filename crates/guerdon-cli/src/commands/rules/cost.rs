//! `guerdon rules bench`: the throughput of packs on rollouts, and the most expensive rules.

use std::time::Instant;

use crate::output::outln;
use guerdon_rules::RulePacks;
use guerdon_types::Rollout;

pub(super) fn print(packs: &RulePacks, rollouts: &[Rollout], top: usize) -> std::io::Result<()> {
    let started = Instant::now();
    let mut turns = 0;
    for rollout in rollouts {
        let asked = rollout.turns_to_score().unwrap_or_default();
        turns += packs.evaluate_turns(rollout, &asked).len();
    }
    let took = started.elapsed();
    let rate = turns as f64 / took.as_secs_f64().max(1e-9);
    outln!(
        "{turns} turns in {took:.1?}: {rate:.0} turns/s on one thread; packs hold {} KiB",
        packs.memory() / 1024
    )?;
    let (turns, costs) = packs.costs(rollouts);
    outln!("{:>10} {:>7} {:>6}  rule", "us/turn", "run on", "hits")?;
    for cost in costs.iter().take(top) {
        let micros = cost.time.as_secs_f64() * 1e6 / turns.max(1) as f64;
        let share = 100.0 * cost.candidates as f64 / turns.max(1) as f64;
        outln!("{micros:>10.3} {share:>6.1}% {:>6}  {}/{}", cost.hits, cost.pack, cost.rule)?;
    }
    Ok(())
}
