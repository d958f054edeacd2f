//! Reply bodies that notice a client that stops reading.
//!
//! hyper asks a body for its next frame when there is room for it. A body that had a frame and is
//! not asked again therefore waits for the client: in HTTP/1 because the socket is full, in HTTP/2
//! also because the client grants no window.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use http::Version;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::activity::Activity;
use super::pace::Pace;

/// A request whose reply is not finished. Ends when dropped.
#[derive(Debug)]
pub(super) struct RequestInFlight(Arc<Activity>);

impl RequestInFlight {
    pub(super) fn start(activity: &Arc<Activity>, version: Version) -> Self {
        activity.request_started(version);
        Self(Arc::clone(activity))
    }
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        self.0.request_ended();
    }
}

/// The body of a reply.
pub(super) struct ReplyBody {
    inner: axum::body::Body,
    pace: Pace,
    /// The wait for the client, and the bytes that it has to read.
    stalled: Option<(Instant, usize)>,
    /// The reply's number, given with its first stall.
    number: Option<u64>,
    request: RequestInFlight,
}

impl ReplyBody {
    pub(super) fn new(inner: axum::body::Body, request: RequestInFlight) -> Self {
        let pace = Pace::new(request.0.timeouts().write);
        Self { inner, pace, stalled: None, number: None, request }
    }

    fn stall(&mut self, bytes: usize) {
        let activity = &self.request.0;
        let number = *self.number.get_or_insert_with(|| activity.next_reply());
        let now = Instant::now();
        activity.stalled(number, Some(self.pace.deadline(now)));
        self.stalled = Some((now, bytes));
    }

    fn resume(&mut self) {
        let (Some((since, bytes)), Some(number)) = (self.stalled.take(), self.number) else {
            return;
        };
        self.pace.moved(since.elapsed(), bytes);
        self.request.0.stalled(number, None);
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.resume();
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && !self.inner.is_end_stream()
        {
            self.stall(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        self.resume();
    }
}
