//! Request bodies that fail if the client is too slow, or if the server stops before they arrived.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::activity::{Activity, STOP_GRACE};
use super::pace::Pace;

/// A body that did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The client sent too little in too long a time.
    #[error(
        "the body arrived too slowly (limits: a pause of {pause:?}, and on average {rate} bytes a second)"
    )]
    Slow {
        /// The longest pause.
        pause: Duration,
        /// The lowest mean rate.
        rate: u32,
    },
    /// The server stops.
    #[error("the server is stopping, and the body had not arrived")]
    Stopping,
    /// The connection failed, or the body is not valid HTTP.
    #[error(transparent)]
    Read(#[from] hyper::Error),
}

/// The body of a request.
pub(super) struct RequestBody {
    inner: Incoming,
    activity: Arc<Activity>,
    stop: CancellationToken,
    pace: Pace,
    waiting: Option<AwaitedFrame>,
    /// True until the end of the body was seen.
    is_receiving: bool,
    /// True after an error, which is the last frame.
    has_failed: bool,
}

/// A wait for the client.
struct AwaitedFrame {
    since: Instant,
    end: Pin<Box<dyn Future<Output = BodyError> + Send>>,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, activity: Arc<Activity>, stop: CancellationToken) -> Self {
        let is_receiving = !inner.is_end_stream();
        if is_receiving {
            activity.body_started();
        }
        let pace = Pace::new(activity.timeouts().body);
        Self { inner, activity, stop, pace, waiting: None, is_receiving, has_failed: false }
    }

    fn ended(&mut self) {
        if std::mem::take(&mut self.is_receiving) {
            self.activity.body_ended();
        }
    }

    fn wait(&self) -> AwaitedFrame {
        let since = Instant::now();
        let deadline = self.pace.deadline(since);
        let limits = self.activity.timeouts().body;
        let slow = BodyError::Slow { pause: limits.pause, rate: limits.rate.get() };
        let stop = self.stop.clone();
        let end = async move {
            // Bytes that have reached this machine may still be read after the stop signal.
            let stopped = async {
                stop.cancelled().await;
                tokio::time::sleep(STOP_GRACE).await;
            };
            tokio::select! {
                () = stopped => BodyError::Stopping,
                () = tokio::time::sleep_until(deadline) => slow,
            }
        };
        AwaitedFrame { since, end: Box::pin(end) }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if this.has_failed {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) else {
            if this.waiting.is_none() {
                this.waiting = Some(this.wait());
            }
            let Some(waiting) = &mut this.waiting else { return Poll::Pending };
            let error = ready!(waiting.end.as_mut().poll(context));
            this.has_failed = true;
            this.ended();
            return Poll::Ready(Some(Err(error)));
        };
        let waited = this.waiting.take().map(|waiting| waiting.since.elapsed());
        let bytes = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        this.has_failed = matches!(frame, Some(Err(_)));
        this.pace.moved(waited.unwrap_or_default(), bytes);
        if !matches!(frame, Some(Ok(_))) || this.inner.is_end_stream() {
            this.ended();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Read)))
    }

    fn is_end_stream(&self) -> bool {
        self.has_failed || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.ended();
    }
}
