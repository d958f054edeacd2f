//! The store of a server without a ledger: it has no rollouts.

use guerdon_inspector::{Filter, Overview, Record, Row, Store, StoreError};

/// A store without rollouts.
#[derive(Debug)]
pub(crate) struct NoRollouts;

impl Store for NoRollouts {
    fn name(&self) -> String {
        "no ledger is configured".to_owned()
    }

    fn overview(&self) -> Result<Overview, StoreError> {
        Ok(Overview::default())
    }

    fn rollouts(&self, _: &Filter, _: Option<i64>, _: usize) -> Result<Vec<Row>, StoreError> {
        Ok(Vec::new())
    }

    fn record(&self, _: i64) -> Result<Option<Record>, StoreError> {
        Ok(None)
    }

    fn records(&self, _: &Filter, _: usize) -> Result<Vec<Record>, StoreError> {
        Ok(Vec::new())
    }

    fn scan(&self, _: &Filter, _: usize, _: &mut dyn FnMut(Row)) -> Result<bool, StoreError> {
        Ok(false)
    }
}
