//! States of the judges' queues, addresses and budgets, read at each scrape.
//!
//! Labels come from the configuration: the judge's name, the number of an address (0 is `url`, the
//! replicas follow) and closed sets of words.

use std::fmt;

use guerdon_judge::{AddressState, JudgeStatus};
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

type FloatGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Every state of an address, with its label.
const STATES: [(AddressState, &str); 5] = [
    (AddressState::Healthy, "healthy"),
    (AddressState::Paused, "paused"),
    (AddressState::HalfOpen, "half_open"),
    (AddressState::Down, "down"),
    (AddressState::Closed, "closed"),
];

/// The states as they were last read.
#[derive(Debug, Default)]
pub(crate) struct JudgeStates {
    states: Mutex<Vec<(String, JudgeStatus)>>,
}

impl JudgeStates {
    /// Replaces the states, by the name of the judge. A judge that is no longer configured
    /// disappears.
    pub(crate) fn set(&self, states: Vec<(String, JudgeStatus)>) {
        *self.states.lock() = states;
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JudgeLabels {
    /// The name under `[judges]`.
    judge: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AddressLabels {
    /// The name under `[judges]`.
    judge: String,
    /// The number of the address: 0 is `url`, the replicas follow.
    address: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    /// The name under `[judges]`.
    judge: String,
    /// The number of the address: 0 is `url`, the replicas follow.
    address: usize,
    /// `healthy`, `paused`, `half_open`, `down` or `closed`.
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FeatureLabels {
    /// The name under `[judges]`.
    judge: String,
    /// The number of the address: 0 is `url`, the replicas follow.
    address: usize,
    /// `response_format`, `token_limit`, `temperature` or `reduced_reasoning`.
    feature: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CapLabels {
    /// The name under `[judges]`.
    judge: String,
    /// `run` or `day`.
    cap: &'static str,
}

/// The gauges of one scrape.
#[derive(Debug, Default)]
struct JudgeGauges {
    queued: Family<JudgeLabels, Gauge>,
    in_flight: Family<AddressLabels, Gauge>,
    allowed: Family<AddressLabels, Gauge>,
    pause: Family<AddressLabels, FloatGauge>,
    state: Family<StateLabels, Gauge>,
    downgraded: Family<FeatureLabels, Gauge>,
    budget_left: Family<CapLabels, FloatGauge>,
}

impl JudgeGauges {
    fn add(&self, judge: &str, status: &JudgeStatus) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let judge = || judge.to_owned();
        self.queued
            .get_or_create(&JudgeLabels { judge: judge() })
            .set(count(status.admission.queued));
        for (address, one) in status.admission.addresses.iter().enumerate() {
            let labels = AddressLabels { judge: judge(), address };
            self.in_flight.get_or_create(&labels).set(count(one.in_flight));
            self.allowed.get_or_create(&labels).set(count(one.allowed));
            self.pause.get_or_create(&labels).set(one.paused_for.as_secs_f64());
            for (state, word) in STATES {
                let labels = StateLabels { judge: judge(), address, state: word };
                self.state.get_or_create(&labels).set(i64::from(one.state == state));
            }
        }
        for (address, features) in status.downgrades.iter().enumerate() {
            for (feature, steps) in features {
                let labels = FeatureLabels { judge: judge(), address, feature };
                self.downgraded.get_or_create(&labels).set(i64::from(*steps));
            }
        }
        for (cap, left) in &status.budget_left {
            self.budget_left.get_or_create(&CapLabels { judge: judge(), cap }).set(*left);
        }
    }
}

impl Collector for JudgeStates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let gauges = JudgeGauges::default();
        for (judge, status) in self.states.lock().iter() {
            gauges.add(judge, status);
        }
        let JudgeGauges { queued, in_flight, allowed, pause, state, downgraded, budget_left } =
            &gauges;
        let mut write = |name: &str, help: &str, metric: &dyn EncodeMetricRef| {
            metric.write(&mut encoder, name, help)
        };
        write("judge_queued", "Questions that wait for an address of the judge", queued)?;
        write("judge_in_flight", "Attempts in flight at an address of a judge", in_flight)?;
        write("judge_allowed", "Attempts that may be in flight at an address now", allowed)?;
        write(
            "judge_pause_left",
            "Seconds until the end of the pause of an address; 0 without one",
            pause,
        )?;
        write("judge_address_state", "1 for the state that an address is in, 0 for others", state)?;
        write(
            "judge_downgraded",
            "Steps by which a feature of requests was given up because the address refuses it",
            downgraded,
        )?;
        write(
            "judge_budget_left",
            "Amount left under a cap of the judge's budget; reservations count as spent",
            budget_left,
        )
    }
}

/// A metric of any type.
trait EncodeMetricRef {
    fn write(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
    ) -> Result<(), fmt::Error>;
}

impl<M: EncodeMetric> EncodeMetricRef for M {
    fn write(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
    ) -> Result<(), fmt::Error> {
        let metric = encoder.encode_descriptor(name, help, None, self.metric_type())?;
        self.encode(metric)
    }
}
