//! Rule packs as text: YAML with source positions, read into [`Pack`](pack::Pack) values and described by a JSON Schema.
//!
//! | File or folder | Contents |
//! |---|---|
//! | `yaml.rs` | YAML as a tree whose keys and values have source positions |
//! | `fields.rs` | Reads a mapping key by key and reports unknown keys |
//! | `parse/` | The YAML tree becomes a pack |
//! | `pack.rs` | A pack as it is written |
//! | `schema.rs` | The JSON Schema for editors |
//! | `expiry.rs` | The date that `expires:` is compared with |
//! | `report.rs` | Diagnostics and their codes |
//! | `nearest.rs` | Spelling suggestions |
//! | `pack_text.rs` | A pack's name and text |

pub(crate) mod expiry;
pub(crate) mod fields;
pub(crate) mod nearest;
pub(crate) mod pack;
pub(crate) mod pack_text;
pub(crate) mod parse;
pub(crate) mod report;
pub(crate) mod schema;
pub(crate) mod yaml;
