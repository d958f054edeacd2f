//! Brake on guesses of tokens.
//!
//! An address that sent too many unknown tokens is refused before its token is looked at, so that it
//! learns nothing. This does not affect other addresses, nor a token that was accepted from the same
//! address before: one program with an old token must not stop the others of its machine.

use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::http::caller::network;
use crate::lru::LruMap;

/// Unknown tokens that an address may send at once.
const BURST: f64 = 100.0;
/// Unknown tokens that an address may send at once while many addresses guess.
const BURST_UNDER_ATTACK: f64 = 10.0;
/// Unknown tokens a second that an address may send beyond that.
const PER_SECOND: f64 = 1.0;
/// Unknown tokens of all addresses together that count as an attack: at once, and a second.
const GLOBAL_BURST: f64 = 1_000.0;
const GLOBAL_PER_SECOND: f64 = 20.0;
/// Addresses, and pairs of an address and a token, that are remembered.
const REMEMBERED: usize = 4_096;

/// The unknown tokens of each address.
#[derive(Debug)]
pub(crate) struct GuessBrake(Mutex<GuessCounts>);

#[derive(Debug)]
struct GuessCounts {
    by_address: LruMap<IpAddr, GuessCount>,
    all: GuessCount,
    /// Digests of the tokens that were accepted from an address.
    accepted: LruMap<(IpAddr, [u8; 32]), ()>,
}

/// A number of guesses that decreases with time.
#[derive(Debug, Clone, Copy)]
struct GuessCount {
    count: f64,
    at: Instant,
}

impl GuessCount {
    fn new() -> Self {
        Self { count: 0.0, at: Instant::now() }
    }

    fn now(self, per_second: f64) -> f64 {
        (self.count - self.at.elapsed().as_secs_f64() * per_second).max(0.0)
    }

    fn add(&mut self, per_second: f64) {
        *self = Self { count: self.now(per_second) + 1.0, at: Instant::now() };
    }
}

impl Default for GuessBrake {
    fn default() -> Self {
        Self(Mutex::new(GuessCounts {
            by_address: LruMap::new(REMEMBERED),
            all: GuessCount::new(),
            accepted: LruMap::new(REMEMBERED),
        }))
    }
}

impl GuessBrake {
    /// Checks whether a token with this digest may be looked at.
    ///
    /// # Errors
    /// The time until the address may guess again.
    pub(crate) fn check(&self, address: IpAddr, digest: [u8; 32]) -> Result<(), Duration> {
        let state = self.0.lock();
        let address = network(address);
        let count = state.by_address.peek(&address).map_or(0.0, |guesses| guesses.now(PER_SECOND));
        let attack = state.all.now(GLOBAL_PER_SECOND) >= GLOBAL_BURST;
        let burst = if attack { BURST_UNDER_ATTACK } else { BURST };
        if count <= burst - 1.0 || state.accepted.peek(&(address, digest)).is_some() {
            return Ok(());
        }
        Err(Duration::from_secs_f64((count - burst + 1.0) / PER_SECOND))
    }

    /// Records an unknown token.
    pub(crate) fn guessed(&self, address: IpAddr) {
        let mut state = self.0.lock();
        state.all.add(GLOBAL_PER_SECOND);
        state.by_address.get_or_insert(network(address), GuessCount::new).add(PER_SECOND);
    }

    /// Records a known token.
    pub(crate) fn accepted(&self, address: IpAddr, digest: [u8; 32]) {
        self.0.lock().accepted.get_or_insert((network(address), digest), || ());
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    const RIGHT: [u8; 32] = [1; 32];
    const WRONG: [u8; 32] = [2; 32];

    /// The number of guesses that are looked at until the brake engages.
    fn guess_until_refused(brake: &GuessBrake, address: IpAddr) -> usize {
        (0..1_000)
            .take_while(|_| brake.check(address, WRONG).is_ok())
            .inspect(|_| brake.guessed(address))
            .count()
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_of_one_address_are_slowed_down_and_others_are_not_affected() {
        let brake = GuessBrake::default();
        assert_eq!(guess_until_refused(&brake, address(1)), 100);
        let wait = brake.check(address(1), RIGHT).unwrap_err();
        assert_eq!(wait, Duration::from_secs(1));
        assert!(brake.check(address(2), RIGHT).is_ok());
        tokio::time::advance(wait).await;
        assert_eq!(guess_until_refused(&brake, address(1)), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn token_that_was_accepted_before_stays_accepted_at_its_address() {
        let brake = GuessBrake::default();
        brake.accepted(address(1), RIGHT);
        guess_until_refused(&brake, address(1));
        guess_until_refused(&brake, address(2));
        assert!(brake.check(address(1), RIGHT).is_ok());
        assert!(brake.check(address(1), WRONG).is_err() && brake.check(address(2), RIGHT).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn attack_from_many_addresses_shortens_bursts_and_blocks_no_first_token() {
        let brake = GuessBrake::default();
        for n in 0..200_u8 {
            guess_until_refused(&brake, address(n));
        }
        assert_eq!(guess_until_refused(&brake, address(201)), 10);
        assert!(brake.check(address(202), RIGHT).is_ok());
        assert!(brake.0.lock().by_address.len() <= REMEMBERED);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_of_one_ipv6_network_count_together() {
        let brake = GuessBrake::default();
        let of = |last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, last));
        guess_until_refused(&brake, of(1));
        assert!(brake.check(of(2), RIGHT).is_err());
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        assert_eq!(network(mapped), address(1));
    }
}
