//! Concurrency limit: grows while attempts succeed and use it, shrinks when the endpoint refuses
//! for load.
//!
//! It increases by rounds and decreases by episodes, as TCP does. Attempts that were in flight when
//! it shrank carry no new information, so only a refusal of a later attempt shrinks it again. It
//! grows again only some time after the last refusal, or after the requested pause. Failures
//! without information about load (HTTP 5xx) change nothing. A timeout counts as a refusal, because
//! a server that queues instead of refusing has no other signal.

use std::time::Duration;

use tokio::time::Instant;

const START: f64 = 20.0;
const LESS: f64 = 0.8;
const MORE: f64 = 1.05;
/// A round in which less of the room was used than this teaches nothing.
const USED: f64 = 0.8;
/// Time after a refusal in which the limit does not grow.
const CALM: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(crate) struct Aimd {
    limit: f64,
    most: f64,
    /// Successful ends and the peak of attempts in flight since the round began.
    clean: f64,
    peak: usize,
    shrunk_at: Option<Instant>,
    grows_after: Option<Instant>,
}

impl Aimd {
    #[expect(clippy::cast_precision_loss, reason = "attempts in flight are far below 2^53")]
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(1) as f64;
        Self {
            limit: START.min(most),
            most,
            clean: 0.0,
            peak: 0,
            shrunk_at: None,
            grows_after: None,
        }
    }

    /// Number of attempts that may be in flight.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and `most`"
    )]
    pub(crate) const fn allowed(&self) -> usize {
        self.limit as usize
    }

    pub(crate) fn started(&mut self, under_way: usize) {
        self.peak = self.peak.max(under_way);
    }

    #[expect(clippy::cast_precision_loss, reason = "attempts in flight are far below 2^53")]
    pub(crate) fn clean(&mut self, now: Instant) {
        self.clean += 1.0;
        if self.clean < self.limit {
            return;
        }
        if self.peak as f64 >= USED * self.limit.floor()
            && self.grows_after.is_none_or(|until| until <= now)
        {
            self.limit = (self.limit * MORE).min(self.most);
        }
        (self.clean, self.peak) = (0.0, 0);
    }

    /// The endpoint refused an attempt for load, and perhaps asked for a pause.
    pub(crate) fn overloaded(&mut self, sent: Instant, now: Instant, pause: Duration) {
        if self.shrunk_at.is_none_or(|shrunk| shrunk < sent) {
            self.limit = (self.limit * LESS).max(1.0);
            self.shrunk_at = Some(now);
            (self.clean, self.peak) = (0.0, 0);
        }
        let until = now + pause.max(CALM);
        self.grows_after = Some(self.grows_after.map_or(until, |before| before.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(aimd: &mut Aimd, under_way: usize) {
        for _ in 0..=aimd.allowed() {
            aimd.started(under_way);
            aimd.clean(Instant::now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_episode_shrinks_it_once_and_growth_waits_for_calm() {
        let mut aimd = Aimd::new(1000);
        assert_eq!(aimd.allowed(), 20);
        let sent = Instant::now();
        for _ in 0..50 {
            tokio::time::advance(Duration::from_millis(1)).await;
            aimd.overloaded(sent, Instant::now(), Duration::from_secs(60));
        }
        assert_eq!(aimd.allowed(), 16);
        let sent = Instant::now();
        tokio::time::advance(Duration::from_millis(1)).await;
        aimd.overloaded(sent, Instant::now(), Duration::ZERO);
        assert_eq!(aimd.allowed(), 12, "one that was sent after it shrank");
        tokio::time::advance(CALM).await;
        round(&mut aimd, 12);
        assert_eq!(aimd.allowed(), 12, "the pause that was asked for is not over");
        tokio::time::advance(Duration::from_secs(60)).await;
        round(&mut aimd, 12);
        assert_eq!(aimd.allowed(), 13);
    }

    #[tokio::test(start_paused = true)]
    async fn room_that_is_not_used_is_not_enlarged() {
        let mut aimd = Aimd::new(1000);
        for _ in 0..20 {
            round(&mut aimd, 10);
        }
        assert_eq!(aimd.allowed(), 20);
        for _ in 0..200 {
            let full = aimd.allowed();
            round(&mut aimd, full);
        }
        assert_eq!(aimd.allowed(), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn it_stays_between_one_and_the_most() {
        let mut aimd = Aimd::new(3);
        assert_eq!(aimd.allowed(), 3);
        for _ in 0..30 {
            tokio::time::advance(CALM).await;
            aimd.overloaded(Instant::now(), Instant::now(), Duration::ZERO);
        }
        assert_eq!(aimd.allowed(), 1);
    }
}
