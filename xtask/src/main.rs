//! Generators and checks of this repository. The tests of this package run every check.
//!
//! | command | effect |
//! |---|---|
//! | `cargo xtask generate` | writes the generated files that are committed |
//! | `cargo xtask fences` | checks the dependencies between the workspace's packages |
//! | `cargo xtask links` | checks the relative links of Markdown files, and the site's contents |
//! | `cargo xtask book OUT` | writes the sources of the documentation site |
//! | `cargo xtask site FOLDER` | checks the links of the built site |
//! | `cargo xtask unused` | lists dependencies that no source file names |
//! | `cargo xtask house [--list]` | measures the rules of the code; `--list` names the offending places |

#![expect(clippy::print_stdout, reason = "a command prints its result")]

mod book;
mod fences;
#[cfg(feature = "generate")]
mod generate;
mod house;
mod links;
mod packages;
#[cfg(test)]
mod published;
#[cfg(feature = "generate")]
mod readmes;
#[cfg(feature = "generate")]
mod reference;
mod source;
mod unused;

use self::house::HouseFigures;
use self::packages::workspace_root;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        #[cfg(feature = "generate")]
        ["generate"] => {
            for file in generate::write()? {
                println!("wrote {file}");
            }
            for file in readmes::write()? {
                println!("wrote {}", file.display());
            }
        }
        ["fences"] => {
            fences::check()?;
            println!("every dependency is allowed");
        }
        ["links"] => {
            links::check()?;
            println!("every link target exists");
        }
        ["book", out] => book::write_sources(out.as_ref())?,
        ["site", site] => println!("{} links lead to pages", book::check_site(site.as_ref())?),
        ["unused"] => {
            unused::check()?;
            println!("every dependency is used");
        }
        ["house"] => println!("{}", HouseFigures::measure(workspace_root())?),
        ["house", "--list"] => {
            let figures = HouseFigures::measure(workspace_root())?;
            println!("{figures}\n{}", figures.offenders());
        }
        _ => {
            anyhow::bail!(
                "usage: cargo xtask generate | fences | unused | links | book OUT | site FOLDER | house [--list]"
            )
        }
    }
    Ok(())
}
