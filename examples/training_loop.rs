//! One step of a policy-gradient loop without a policy: from dialogues to rewards, advantages, and the
//! gradient that a framework would push through its network.
//!
//! ```text
//! guerdon serve                                                      # in another terminal
//! cargo run -p guerdon-examples --example training_loop              # or: ... -- http://host:8787
//! ```
//!
//! It prints each rollout's reward, its advantage over the other samples of its prompt, and the gradient of
//! the loss by its first log-prob; then the loss and the metrics. A rollout without a reward is printed as
//! `none` and has gradient 0. Tokens are fake (one per character, each with the same log-prob), so the
//! numbers show the data flow only; `examples/training` has a real policy.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use guerdon_client::optim::{Repo, RepoConfig, RowMask};
use guerdon_client::{Client, ScoreRequest, UnscoredPolicy};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:8787".to_owned());
    let mut request =
        ScoreRequest { rollouts: guerdon_examples::hotel()?, ..ScoreRequest::default() };
    request.rollouts.retain(|rollout| rollout.group.is_some());

    // 1. Rewards. A missing one is NaN, never 0, and does not influence the update.
    let scored = Client::new(url)?.score(&request).await?;
    let feedback = scored.feedback::<f32>(&request, UnscoredPolicy::Drop)?;

    // 2. A framework would run its policy on the tokens of each reply here.
    let reply =
        |at: usize| request.rollouts[at].messages.last().map_or(0, |m| m.content.chars().count());
    let lens: Vec<usize> = (0..request.rollouts.len()).map(reply).collect();
    let width = lens.iter().copied().max().unwrap_or(0);
    let mask = RowMask::lens(&lens, width)?;
    let logp = vec![-1.0_f32; lens.len() * width];

    // 3. Advantages against siblings, the clipped loss, and its gradient by every log-prob.
    let mut repo = Repo::new(RepoConfig::grpo())?;
    let update = repo.step(&feedback.batch(mask, &logp, &logp).with_reference(&logp))?;

    // 4. A framework would run its backward pass from `update.dlogp` here.
    println!("{:<24}{:>10}{:>12}{:>14}", "rollout", "reward", "advantage", "d loss/d logp");
    for (at, result) in scored.results.iter().enumerate() {
        let number = |n: f32| if n.is_nan() { "none".to_owned() } else { format!("{n:+.3}") };
        let (reward, advantage) =
            (number(feedback.rewards[at]), number(update.advantages[at * width]));
        println!(
            "{:<24}{reward:>10}{advantage:>12}{:>+14.6}",
            result.id.as_str(),
            update.dlogp[at * width]
        );
    }
    println!(
        "loss {:+.6} over {} tokens; {:?}",
        update.loss,
        lens.iter().sum::<usize>(),
        update.metrics
    );
    Ok(())
}
