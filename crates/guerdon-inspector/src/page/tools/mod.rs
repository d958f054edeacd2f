//! The pages of a server that write: labels, and the rules workbench.

mod label;
mod workbench;

pub(crate) use label::label_page;
pub use label::{Label, LabelChoice, LabelQuestion};
pub(crate) use workbench::workbench_page;
pub use workbench::{EditedPack, PackChange, PackCheck, PackPlace, RuleChange, Workbench};
