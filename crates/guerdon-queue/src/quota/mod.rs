//! Quotas of an endpoint: the own count, and what the endpoint reports in headers.

mod headers;
mod remainder;
mod window;

pub use self::headers::{QuotaReports, parse_reset};
pub use self::remainder::QuotaReport;
pub use self::window::{QuotaReservation, QuotaWindow};
