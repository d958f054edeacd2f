//! Coordination between replicas of a reward server over Redis or Valkey.
//!
//! Replicas share the answers of judges, the right to ask (one call for a question that several
//! replicas ask at once), quotas, budgets and pauses. The loss of the store costs money or time and
//! never gives a wrong reward: a replica goes on with its own memory, stays within its share of a
//! quota and spends nothing that the others may have spent.
//!
//! Only commands of Redis 6.2 and plain `EVAL` are sent, so that proxies which refuse `SCRIPT` work
//! too. The time is the store's, so that clocks of replicas do not matter.
//!
//! | File or folder | Contents |
//! |---|---|
//! | `config.rs` | [`ClusterConfig`], the section `[cluster]` |
//! | `keys.rs` | the names of all keys and channels |
//! | `frame.rs` | stored values: a version, the compressed value and a checksum |
//! | `redis/` | [`Redis`], the coordinator: connection, scripts, answers, quotas, budgets, pauses |

mod config;
mod frame;
mod keys;
mod redis;

pub use config::{ClusterConfig, ClusterError};
pub use guerdon_queue::{Alone, CoordinationState, Coordinator, CoordinatorError};

pub use self::redis::Redis;
