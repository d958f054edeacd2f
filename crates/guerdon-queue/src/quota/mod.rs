//! Quotas of an endpoint: the own count, and what the endpoint reports in headers.

mod headers;
mod window;

pub use self::headers::{QuotaReports, parse_reset};
pub use self::window::{QuotaReport, QuotaReservation, QuotaWindow};
