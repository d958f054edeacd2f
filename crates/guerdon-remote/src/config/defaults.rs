//! Default values of keys that both kinds of sources have.

use std::time::Duration;

pub(super) const fn batch() -> usize {
    256
}

pub(super) const fn linger() -> Duration {
    Duration::from_millis(2)
}

pub(super) const fn attempt_timeout() -> Duration {
    Duration::from_secs(30)
}

pub(super) const fn retries() -> u32 {
    3
}

pub(super) const fn backoff() -> Duration {
    Duration::from_millis(200)
}

pub(super) const fn max_concurrent() -> usize {
    32
}

pub(super) const fn max_queued() -> usize {
    65_536
}

pub(super) const fn max_request_bytes() -> usize {
    8 << 20
}

pub(super) const fn max_reply_bytes() -> usize {
    16 << 20
}
