//! One step of a policy-gradient loop without a policy: dialogues to rewards to advantages to the gradient that a
//! framework would push through its network.
//!
//! ```text
//! guerdon serve                                                      # in another terminal
//! cargo run -p guerdon-examples --example training_loop              # or: ... -- http://host:8787
//! ```
//!
//! Printed are each rollout's reward, its advantage over the other samples of its prompt, and the slope of the loss
//! by the log-prob of each of its tokens; then the loss. A rollout that was not scored says `none` and has slope 0.
//! Tokens are faked (one a character, each with the same log-prob), so the numbers show the road, not a policy.

#![expect(clippy::print_stdout, reason = "an example shows what it got")]

use guerdon_client::optim::{Estimator, PolicyBatch, PpoConfig, RowMask, advantages, ppo_loss};
use guerdon_client::{Client, ScoreRequest};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8787".to_owned());
    let mut request = ScoreRequest { rollouts: guerdon_examples::hotel()?, ..ScoreRequest::default() };
    request.rollouts.retain(|rollout| rollout.group.is_some());

    // 1. Rewards. `None` is a rollout that could not be scored; it is never 0.
    let scored = Client::new(url)?.score(&request).await?;
    let rewards = scored.rewards();

    // 2. Each sample against its siblings; one without a reward leaves its group.
    let groups: Vec<_> = request.rollouts.iter().map(|rollout| &rollout.group).collect();
    let advantages = advantages(Estimator::Grpo, &rewards, &groups)?;

    // 3. Every token of a reply gets the reply's advantage. Here a framework would run its policy.
    let reply =
        |at: usize| request.rollouts[at].messages.last().map_or(0, |reply| reply.content.chars().count());
    let lens: Vec<usize> =
        (0..rewards.len()).map(|at| if advantages[at].is_some() { reply(at) } else { 0 }).collect();
    let width = lens.iter().copied().max().unwrap_or(0);
    let mask = RowMask::lens(&lens, width)?;
    let logp = vec![-1.0_f32; lens.len() * width];
    let spread = advantages.iter().flat_map(|a| std::iter::repeat_n(a.unwrap_or(0.0), width));
    #[expect(clippy::cast_possible_truncation, reason = "policies are trained in f32")]
    let spread: Vec<f32> = spread.map(|advantage| advantage as f32).collect();

    // 4. The clipped loss and its gradient by every log-prob. Here a framework would go backwards.
    let mut dlogp = vec![0.0_f32; logp.len()];
    let report = ppo_loss(&PpoConfig::default(), &PolicyBatch::new(mask, &logp, &logp, &spread), &mut dlogp)?;

    println!("{:<24}{:>10}{:>12}{:>14}", "rollout", "reward", "advantage", "d loss/d logp");
    for (at, result) in scored.results.iter().enumerate() {
        let number = |n: Option<f64>| n.map_or("none".to_owned(), |n| format!("{n:+.3}"));
        let slope = dlogp.get(at * width).copied().unwrap_or(0.0);
        let (reward, advantage) = (number(rewards[at]), number(advantages[at]));
        println!("{:<24}{reward:>10}{advantage:>12}{slope:>+14.6}", result.id.as_str());
    }
    println!("loss {:+.6} over {} tokens", report.loss, lens.iter().sum::<usize>());
    Ok(())
}
