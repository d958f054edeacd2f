//! Pages: pure functions from data to HTML.

mod compare;
mod components;
mod dialogue;
mod group;
mod home;
mod judge;
mod layout;
mod login;
mod numbers;
mod problem;
mod rollout;
mod rollouts;
mod run;
mod tools;
mod watch;
mod waterfall_table;
mod words;

pub(crate) use compare::{compare_choice, compare_page};
pub(crate) use components::{Components, components_page};
pub(crate) use group::group_page;
pub(crate) use home::home_page;
pub(crate) use judge::judge_page;
pub(crate) use layout::{POLICY, Place, Shell};
pub use login::Login;
pub(crate) use login::login_page;
pub(crate) use numbers::number;
pub(crate) use problem::problem_page;
pub(crate) use rollout::rollout_page;
pub(crate) use rollouts::rollouts_page;
pub(crate) use run::run_page;
pub use tools::{
    EditedPack, Label, LabelChoice, LabelQuestion, PackChange, PackCheck, PackPlace, RuleChange,
    Workbench,
};
pub(crate) use tools::{label_page, workbench_page};
pub(crate) use watch::watch_page;
