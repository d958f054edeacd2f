//! The permission to send one request: a place at an address, and units of the quotas that replicas
//! share.

use std::time::Duration;

use guerdon_queue::{AdmissionPermit, LoadSignal, QueuePosition};

use crate::call::shared::SharedUnits;

/// The permission to send one request.
#[derive(Debug)]
pub(crate) struct CallPermit {
    place: AdmissionPermit,
    units: SharedUnits,
}

impl From<AdmissionPermit> for CallPermit {
    /// A place at an address whose quotas are not shared.
    fn from(place: AdmissionPermit) -> Self {
        Self { place, units: SharedUnits::default() }
    }
}

impl CallPermit {
    pub(crate) const fn new(place: AdmissionPermit, units: SharedUnits) -> Self {
        Self { place, units }
    }

    /// The same with units of shared quotas.
    pub(crate) fn with_units(self, units: SharedUnits) -> Self {
        Self { units, ..self }
    }

    pub(crate) const fn address(&self) -> usize {
        self.place.address()
    }

    pub(crate) const fn position(&self) -> QueuePosition {
        self.place.position()
    }

    /// Ends the request. See [`AdmissionPermit::settle`].
    pub(crate) fn settle(self, tokens: Option<u64>, signal: LoadSignal, took: Duration) {
        self.units.settle(tokens);
        self.place.settle(tokens, signal, took);
    }

    /// Ends a request that was not sent.
    pub(crate) fn refund(self) {
        self.units.refund();
        self.place.refund();
    }
}
