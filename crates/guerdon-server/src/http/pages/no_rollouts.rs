//! The store of a server without a ledger in a file: it has no rollouts.

use guerdon_inspector::{Filter, Overview, Record, Row, Store, StoreError};

/// A store without rollouts, and the reason.
#[derive(Debug)]
pub(crate) struct NoRollouts(pub(crate) &'static str);

impl Store for NoRollouts {
    fn name(&self) -> String {
        self.0.to_owned()
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
