//! The snippets of `docs/`, run as a reader would run them.
//!
//! The info string of a code block tells what it is:
//!
//! | info string | meaning |
//! |---|---|
//! | `LANGUAGE FILE` | a whole file; it is written into the page's folder |
//! | `sh run` | commands that must succeed, one block after the other |
//! | `sh serve` | a server that runs until the end of the page |
//! | `text output` | lines of the output of the commands before; `...` stands for any lines |
//! | anything else | a part, which is not run |
//!
//! Every part must have the syntax of its language, if that is YAML, TOML, JSON or `sh`. Every
//! `guerdon` command line, run or not, must be one that the binary accepts.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use guerdon_testing::wait_until_blocking;

use crate::REPOSITORY;

/// The port that the pages name.
const PORT: &str = "8787";

/// The longest wait for a server, which loads a model in a debug build.
const WAIT_LIMIT: Duration = Duration::from_secs(120);

/// Folders of the checkout that a page can read.
const LINKED: [&str; 5] = ["models", "judge-prompts", "examples", "crates", ".guerdon"];

#[derive(Debug, PartialEq, Eq)]
enum Block {
    File { name: String, text: String },
    Run(String),
    Serve(String),
    Output(String),
    Part { language: String, text: String },
}

/// The fenced blocks of a page.
fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut open) = (Vec::new(), None);
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info.to_owned(), String::new())),
            (Some((info, text)), Some(_)) => {
                blocks.push(block(info, std::mem::take(text)));
                open = None;
            }
            (Some((_, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

fn block(info: &str, text: String) -> Block {
    match info.split_once(' ') {
        Some(("sh", "run")) => Block::Run(text),
        Some(("sh", "serve")) => Block::Serve(text),
        Some(("text", "output")) => Block::Output(text),
        Some((_, name)) => Block::File { name: name.to_owned(), text },
        None => Block::Part { language: info.to_owned(), text },
    }
}

/// Every page of `docs/`, with its path.
fn pages() -> Vec<(PathBuf, String)> {
    let (mut pages, mut open) = (Vec::new(), vec![Path::new(REPOSITORY).join("docs")]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    pages.sort();
    pages
}

/// The folder and the server of one page.
struct Reader {
    folder: tempfile::TempDir,
    port: String,
    output: String,
    server: Option<Child>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            drop(server.kill());
            drop(server.wait());
        }
    }
}

impl Reader {
    /// A folder with the shipped configuration and packs, and links to the other shipped files.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = Path::new(REPOSITORY).canonicalize().unwrap();
        for name in LINKED {
            std::os::unix::fs::symlink(root.join(name), folder.path().join(name)).unwrap();
        }
        fs::copy(root.join("guerdon.toml"), folder.path().join("guerdon.toml")).unwrap();
        fs::create_dir(folder.path().join("rules")).unwrap();
        for entry in fs::read_dir(root.join("rules")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.path().join("rules").join(path.file_name().unwrap())).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder, port: port.to_string(), output: String::new(), server: None }
    }

    fn shell(&self, script: &str) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_guerdon")).parent().unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> =
            std::iter::once(binary.to_owned()).chain(std::env::split_paths(&path)).collect();
        let mut shell = Command::new("sh");
        shell
            .args(["-euc", &script.replace(PORT, &self.port)])
            .current_dir(self.folder.path())
            .env("PATH", std::env::join_paths(folders).unwrap())
            .env("GUERDON_URL", format!("http://127.0.0.1:{}", self.port))
            .env("COLUMNS", "100");
        for variable in ["GUERDON_CONFIG", "GUERDON_TOKEN", "ORT_DYLIB_PATH"] {
            shell.env_remove(variable);
        }
        shell
    }

    fn step(&mut self, block: &Block) -> Result<(), String> {
        match block {
            Block::File { name, text } => {
                let path = self.folder.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::File::create(path)
                    .unwrap()
                    .write_all(text.replace(PORT, &self.port).as_bytes())
                    .unwrap();
            }
            Block::Run(script) => {
                let output = self.shell(script).output().unwrap();
                let read = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                self.output = read(&output.stdout) + &read(&output.stderr);
                if !output.status.success() {
                    return Err(format!(
                        "{script}\nended with {}:\n{}",
                        output.status, self.output
                    ));
                }
            }
            Block::Serve(script) => {
                let mut command = self.shell(&format!("exec {script}"));
                command.env("GUERDON__SERVER__LISTEN", format!("127.0.0.1:{}", self.port));
                let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                let server = self.server.insert(server);
                let address = format!("127.0.0.1:{}", self.port);
                let mut ended = None;
                wait_until_blocking("the server of a page listens", WAIT_LIMIT, || {
                    ended = server.try_wait().unwrap();
                    ended.is_some() || std::net::TcpStream::connect(&address).is_ok()
                });
                if let Some(status) = ended {
                    return Err(format!("{script}\nended with {status}"));
                }
            }
            Block::Output(expected) => return self.compare(expected),
            Block::Part { .. } => {}
        }
        Ok(())
    }

    /// Looks for the expected lines in the lines of the output, in order; spaces do not matter.
    fn compare(&self, expected: &str) -> Result<(), String> {
        let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut lines = self.output.lines().map(plain);
        for line in expected.lines().map(plain).filter(|line| !line.is_empty() && line != "...") {
            let line = line.replace(PORT, &self.port);
            if !lines.any(|found| found.contains(&line)) {
                return Err(format!("`{line}` is not (or not there) in:\n{}", self.output));
            }
        }
        Ok(())
    }
}

#[test]
fn commands_of_every_page_run_with_the_output_that_it_shows() {
    let mut runs = 0;
    for (path, page) in pages() {
        let blocks = blocks(&page);
        if !blocks.iter().any(|block| matches!(block, Block::Run(_))) {
            continue;
        }
        let mut reader = Reader::new();
        for block in &blocks {
            runs += usize::from(matches!(block, Block::Run(_)));
            reader.step(block).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
    assert!(runs > 10, "found only {runs} blocks to run");
}

#[test]
fn whole_files_of_every_page_are_valid() {
    let mut files = 0;
    for (path, page) in pages() {
        for block in blocks(&page) {
            let Block::File { name, text } = block else { continue };
            files += 1;
            let extension = name.rsplit('.').next().unwrap_or_default();
            let valid = match extension {
                "toml" if name.ends_with("guerdon.toml") => {
                    toml::from_str::<guerdon_server::config::Config>(&text)
                        .map(drop)
                        .map_err(|error| error.to_string())
                }
                "toml" => toml::from_str::<toml::Table>(&text)
                    .map(drop)
                    .map_err(|error| error.to_string()),
                "json" if text.contains("\"rollouts\"") => {
                    serde_json::from_str::<guerdon_client::ScoreRequest>(&text)
                        .map(drop)
                        .map_err(|error| error.to_string())
                }
                "json" => serde_json::from_str::<serde_json::Value>(&text)
                    .map(drop)
                    .map_err(|error| error.to_string()),
                "jsonl" => text
                    .lines()
                    .try_for_each(|line| serde_json::from_str::<serde_json::Value>(line).map(drop))
                    .map_err(|error| error.to_string()),
                // Packs and prompts are checked by the commands of their pages.
                _ => Ok(()),
            };
            valid.unwrap_or_else(|error| panic!("{}: {name}: {error}", path.display()));
        }
    }
    assert!(files > 5, "found only {files} files");
}

/// Every page of `docs/`, and the other Markdown files of the repository that readers start from.
fn pages_and_readmes() -> Vec<(PathBuf, String)> {
    let root = Path::new(REPOSITORY);
    let folders = ["crates", "examples"].map(|name| fs::read_dir(root.join(name)).unwrap());
    let inner = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let outer = ["", "deploy", "judge-prompts", "models/e5-hh"].map(|name| root.join(name));
    let readmes = inner.chain(outer).map(|folder| folder.join("README.md"));
    let read = |path: PathBuf| fs::read_to_string(&path).ok().map(|text| (path, text));
    pages().into_iter().chain(readmes.filter_map(read)).collect()
}

/// The fault of a part of a file in `language`, by its syntax. Objects may lack their braces.
fn fault(language: &str, text: &str) -> Option<String> {
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text);
    match language {
        "yaml" | "yml" => {
            let parsed = serde_saphyr::from_str::<serde_json::Value>(text);
            parsed.err().map(|error| error.to_string())
        }
        "toml" => toml::from_str::<toml::Table>(text).err().map(|error| error.to_string()),
        "json" => json(text).or_else(|_| json(&format!("{{{text}}}"))).err().map(|e| e.to_string()),
        "jsonl" => text.lines().find_map(|line| json(line).err()).map(|error| error.to_string()),
        "sh" => {
            let mut check = Command::new("sh");
            // A part may begin with an option of a command.
            let output = check.args(["-n", "-c", &format!(":\n{text}")]).output().unwrap();
            (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
        }
        _ => None,
    }
}

#[test]
fn parts_of_every_page_have_the_syntax_of_their_language() {
    let mut counts = std::collections::BTreeMap::new();
    for (path, page) in pages_and_readmes() {
        for block in blocks(&page) {
            let (language, text) = match &block {
                Block::Part { language, text } => (language.as_str(), text),
                Block::File { name, text } => (name.rsplit('.').next().unwrap_or_default(), text),
                Block::Run(text) | Block::Serve(text) => ("sh", text),
                Block::Output(_) => continue,
            };
            let language = language.split(',').next().unwrap_or_default().to_owned();
            if let Some(error) = fault(&language, text) {
                panic!("{}: {error}\n{text}", path.display());
            }
            *counts.entry(language).or_insert(0) += 1;
        }
    }
    for language in ["yaml", "toml", "json", "sh"] {
        assert!(counts.get(language).is_some_and(|count| *count >= 3), "{counts:?}");
    }
}

#[test]
fn wrong_syntax_of_a_part_is_found() {
    for (language, wrong) in [
        ("yaml", "a: b: c\n"),
        ("yaml", "a: [1, 2\n"),
        ("yaml", "a: 'x\n"),
        ("toml", "a = \n"),
        ("toml", "a = 1\na = 2\n"),
        ("json", "{\"a\": 1,}"),
        ("jsonl", "{}\n{\n"),
        ("sh", "echo 'x\n"),
    ] {
        assert!(fault(language, wrong).is_some(), "{language}: {wrong}");
    }
    assert_eq!(fault("json", "\"a\": 1"), None);
    assert_eq!(fault("yaml", "a: {b: [c]}\n"), None);
}

#[test]
fn guerdon_command_lines_of_every_page_are_accepted() {
    let mut count = 0;
    let readme = Path::new(REPOSITORY).join("README.md");
    let readme = (readme.clone(), fs::read_to_string(&readme).unwrap());
    for (path, page) in pages().into_iter().chain([readme]) {
        if path.ends_with("command-line.md") {
            continue;
        }
        let indented = page.lines().filter_map(|line| line.strip_prefix("    "));
        let fenced: Vec<Block> = blocks(&page);
        let fenced = fenced.iter().flat_map(|block| match block {
            Block::Run(text) | Block::Serve(text) => text.as_str().lines(),
            Block::Part { language, text } if language == "sh" => text.as_str().lines(),
            _ => "".lines(),
        });
        for line in indented.chain(fenced) {
            let Some(words) = command_line(line) else { continue };
            count += 1;
            let parsed = guerdon_cli::command().try_get_matches_from(&words);
            if let Err(error) = parsed {
                use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
                let shown = matches!(error.kind(), DisplayHelp | DisplayVersion);
                assert!(shown, "{}: {line}\n{error}", path.display());
            }
        }
    }
    assert!(count > 20, "found only {count} command lines");
}

/// The words of a line that runs `guerdon`, without comments, pipes and redirections.
fn command_line(line: &str) -> Option<Vec<String>> {
    let words = shlex::split(line)?;
    let first = words.first()?;
    if first != "guerdon" && !first.ends_with("/guerdon") {
        return None;
    }
    let end = |word: &String| {
        ["|", "&", "&&", ">", "||"].contains(&word.as_str()) || word.starts_with('#')
    };
    let end = words.iter().position(end).unwrap_or(words.len());
    let words = &words[..end];
    (words.len() > 1).then(|| words.to_vec())
}

#[test]
fn blocks_are_recognised_by_their_info_string() {
    let page =
        "a\n```sh run\nx\n```\n```toml guerdon.toml\ny\n```\n```text output\nz\n```\n```\nw\n```\n";
    assert_eq!(
        blocks(page),
        [
            Block::Run("x\n".into()),
            Block::File { name: "guerdon.toml".into(), text: "y\n".into() },
            Block::Output("z\n".into()),
            Block::Part { language: String::new(), text: "w\n".into() },
        ]
    );
}
