//! Fair queueing, Retry-After and backoff, single-flight, endpoint health and quota windows.
