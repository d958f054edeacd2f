//! Rule packs as text: YAML with source positions, parsed into [`Pack`](pack::Pack) values and
//! described by a JSON Schema.
//!
//! | File or folder | Contents |
//! |---|---|
//! | `yaml.rs` | YAML as a tree whose keys and values have source positions |
//! | `slips/` | The reasons why a text is not YAML |
//! | `fields.rs` | Reading of a mapping key by key, with reports of unknown keys |
//! | `parse/` | Conversion of the YAML tree to a pack |
//! | `pack.rs` | The types of a pack as written, before compilation |
//! | `files.rs` | The files of one load, and those that cannot be read |
//! | `imports.rs` | `import:`: the declarations of other files |
//! | `declarations.rs` | `words`, `units`, `aliases` and `facts` at the head of a file |
//! | `facts.rs` | The declared facts and their types |
//! | `aliases.rs` | Other spellings of words that a pack declares |
//! | `schema.rs` | The JSON Schema for editors |
//! | `expiry.rs` | The date that `expires:` is compared with |
//! | `codes.rs` | The codes of diagnostics |

pub(crate) mod aliases;
pub(crate) mod codes;
pub(crate) mod declarations;
pub(crate) mod expiry;
pub(crate) mod facts;
pub(crate) mod fields;
pub(crate) mod files;
pub(crate) mod imports;
pub(crate) mod pack;
pub(crate) mod parse;
pub(crate) mod schema;
mod slips;
pub(crate) mod yaml;
