//! Admission of requests: room for their bodies in memory, then a place among the requests that are
//! worked on. Both are shared fairly between callers.

use std::sync::Arc;
use std::time::Duration;

use guerdon_queue::{FairPermit, FairSemaphore, SemaphoreSize};
use guerdon_types::{Problem, ProblemCode};
use parking_lot::Mutex;

use crate::config::Config;
use crate::http::caller::CallerId;
use crate::http::problem::ApiError;

/// Bytes that a request is charged for besides its body.
const REQUEST_BYTES: u64 = 16 << 10;

/// Requests of one caller that may wait for room or for a place, for each place.
const WAITING_PER_PLACE: usize = 4;

/// The most places beyond `limits.max_concurrent_requests` for callers that have none.
const MOST_RESERVED_PLACES: u64 = 64;

/// The longest wait that a refusal announces. The estimate may be far off.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Room and places of all requests.
#[derive(Debug)]
pub(crate) struct RequestAdmission {
    room: Arc<FairSemaphore>,
    places: Arc<FairSemaphore>,
    max_requests: usize,
    max_bodies_bytes: u64,
    timeout: Duration,
}

/// The room and the place of one request, shared by the clones of its context. Released with the
/// last of them.
#[derive(Debug, Default)]
pub(crate) struct AdmittedRequest {
    held: Mutex<Option<(RoomForBody, Option<FairPermit>)>>,
}

impl AdmittedRequest {
    /// Holds a place, and the room of the body that was read.
    pub(crate) fn hold(&self, room: RoomForBody, place: FairPermit) {
        *self.held.lock() = Some((room, Some(place)));
    }

    /// Gives the place back before the reply: the request only waits for other requests. The room of
    /// its body stays held.
    pub(crate) fn release_place(&self) {
        if let Some((_, place)) = &mut *self.held.lock() {
            drop(place.take());
        }
    }
}

impl RequestAdmission {
    pub(crate) fn new(config: &Config) -> Self {
        let limits = &config.limits;
        let max_body = units(limits.max_body_bytes);
        // One body of the largest size must fit, beside another one that is completed.
        let completion = max_body;
        let bytes = config
            .server
            .max_bodies_bytes
            .map_or_else(|| max_body.saturating_mul(8), |bytes| units(bytes.get()));
        let bytes = bytes.max(max_body.saturating_mul(2).saturating_add(REQUEST_BYTES));
        let max_waiting = limits.max_concurrent_requests.saturating_mul(WAITING_PER_PLACE).max(64);
        // A quarter of the room is for callers that hold nothing else.
        let reserve = (bytes - completion) / 4;
        let units_of_all = bytes - completion - reserve;
        let room = SemaphoreSize { units: units_of_all, reserve, completion, max_waiting };
        let places = units(limits.max_concurrent_requests);
        let reserve = places.min(MOST_RESERVED_PLACES);
        Self {
            room: FairSemaphore::new(room),
            places: FairSemaphore::new(SemaphoreSize {
                units: places,
                reserve,
                completion: 0,
                max_waiting,
            }),
            max_requests: limits.max_concurrent_requests,
            max_bodies_bytes: bytes,
            timeout: config.server.admission_timeout,
        }
    }

    /// Room for a body of which nothing has arrived.
    ///
    /// # Errors
    /// `overloaded`, if there is no room for so long as `server.admission_timeout`.
    pub(crate) async fn room(&self, caller: CallerId) -> Result<RoomForBody, ApiError> {
        let room = tokio::time::timeout(self.timeout, self.room.acquire(caller.0, REQUEST_BYTES));
        let permit =
            room.await.ok().flatten().ok_or_else(|| self.no_room(caller, REQUEST_BYTES))?;
        Ok(RoomForBody { permit, caller })
    }

    /// Makes room for `bytes` more of a body.
    ///
    /// # Errors
    /// `overloaded`, if there is no room for so long as `server.admission_timeout`.
    pub(crate) async fn extend(
        &self,
        room: &mut RoomForBody,
        bytes: usize,
    ) -> Result<(), ApiError> {
        let bytes = units(bytes);
        let extended = tokio::time::timeout(self.timeout, room.permit.grow(bytes)).await;
        if extended == Ok(true) { Ok(()) } else { Err(self.no_room(room.caller, bytes)) }
    }

    /// The requests that are worked on.
    pub(crate) fn in_flight(&self) -> u64 {
        self.places.held_units()
    }

    /// A place for a request whose body has arrived.
    ///
    /// # Errors
    /// `overloaded`, if there is none for so long as `server.admission_timeout`.
    pub(crate) async fn place(&self, caller: CallerId) -> Result<FairPermit, ApiError> {
        let place = tokio::time::timeout(self.timeout, self.places.acquire(caller.0, 1));
        place.await.ok().flatten().ok_or_else(|| {
            let limit = self.max_requests;
            let detail = format!("too many concurrent requests (limit {limit})");
            let hint = "wait as Retry-After says, or raise `limits.max_concurrent_requests`";
            ApiError::from(Problem::new(ProblemCode::Overloaded, detail).hint(hint))
                .retry_after(self.places.expected_wait(caller.0, 1).min(LONGEST_WAIT))
        })
    }

    fn no_room(&self, caller: CallerId, bytes: u64) -> ApiError {
        let limit = self.max_bodies_bytes;
        let detail =
            format!("there is no room for the body beside other requests' ({limit} bytes)");
        let hint =
            "wait as Retry-After says, send smaller requests, or raise `server.max_bodies_bytes`";
        ApiError::from(Problem::new(ProblemCode::Overloaded, detail).hint(hint))
            .retry_after(self.room.expected_wait(caller.0, bytes).min(LONGEST_WAIT))
    }
}

/// Room for the body of one request; released when dropped.
#[derive(Debug)]
pub(crate) struct RoomForBody {
    permit: FairPermit,
    caller: CallerId,
}

fn units(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use futures_util::FutureExt as _;

    use super::*;

    fn admission(places: usize, max_body: usize) -> RequestAdmission {
        let mut config = Config::default();
        config.limits.max_concurrent_requests = places;
        config.limits.max_body_bytes = max_body;
        config.server.max_bodies_bytes = NonZeroUsize::new(1 << 20);
        config.server.admission_timeout = Duration::from_secs(5);
        RequestAdmission::new(&config)
    }

    const GREEDY: CallerId = CallerId(1);
    const MODEST: CallerId = CallerId(2);

    #[tokio::test(start_paused = true)]
    async fn greedy_caller_leaves_a_place_for_another() {
        let admission = admission(2, 1_000);
        let held = [admission.place(GREEDY).await.unwrap(), admission.place(GREEDY).await.unwrap()];
        assert!(admission.place(GREEDY).await.is_err(), "refused after the timeout");
        assert!(admission.place(MODEST).now_or_never().unwrap().is_ok());
        drop(held);
        assert!(admission.place(GREEDY).now_or_never().unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn greedy_caller_leaves_room_for_the_body_of_another() {
        let admission = admission(100, 1_000);
        let mut bodies = Vec::new();
        let refused = loop {
            let mut room = admission.room(GREEDY).await.unwrap();
            match admission.extend(&mut room, 200_000).await {
                Ok(()) => bodies.push(room),
                Err(refused) => break refused,
            }
        };
        assert_eq!(bodies.len(), 3, "of 786,432 bytes");
        assert!(refused.detail().contains("1048576 bytes"), "{}", refused.detail());
        let mut room = admission.room(MODEST).now_or_never().unwrap().unwrap();
        assert!(admission.extend(&mut room, 200_000).now_or_never().unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn largest_body_fits_however_small_the_configured_room_is() {
        let admission = admission(1, 4 << 20);
        let mut room = admission.room(GREEDY).await.unwrap();
        assert!(admission.extend(&mut room, 4 << 20).now_or_never().unwrap().is_ok());
    }

    /// Each of them is of the largest size, and all together are larger than the room.
    #[tokio::test(start_paused = true)]
    async fn large_bodies_of_one_caller_do_not_wait_for_each_other_until_the_timeout() {
        let admission = admission(100, 100_000);
        let bodies = (0..16).map(async |_| {
            let mut room = admission.room(GREEDY).await?;
            for _ in 0..10 {
                admission.extend(&mut room, 10_000).await?;
                tokio::task::yield_now().await;
            }
            Ok::<(), ApiError>(())
        });
        for read in futures_util::future::join_all(bodies).await {
            assert!(read.is_ok(), "{:?}", read.err().map(|error| error.detail().to_owned()));
        }
    }

    #[tokio::test]
    async fn server_without_places_refuses_at_once() {
        assert!(admission(0, 1_000).place(GREEDY).now_or_never().unwrap().is_err());
    }
}
