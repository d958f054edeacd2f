//! Builds snapshots from the configuration. [`Loader::profile`] is the only list of source kinds.

mod absent_model;
mod judges;
mod models;
mod named_paths;
mod parts;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use guerdon_fusion::{RewardSource, Scorer};
use guerdon_judge::{JudgeSource, Prompts};
use guerdon_queue::WorkThreads;
use guerdon_rules::{PackFiles, RulePacks, RulesSource};
use guerdon_types::ProfileName;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use self::named_paths::{NamedPaths, OwnedPacks};
use self::parts::{PacksKey, SharedParts, keys_of};
use crate::config::{Config, ConfigSource, ProfileConfig};
use crate::engine::snapshot::{Profile, Snapshot};
use crate::error::LoadError;
use crate::http::auth::Auth;
use crate::load::file_set::FileSet;
use crate::observe::metrics::Metrics;
use crate::observe::observed_source::ObservedSource;

/// Builds snapshots, and keeps the parts that outlive a snapshot: loaded models, endpoints with
/// their caches, and compiled texts.
#[derive(Debug)]
pub(crate) struct Loader {
    source: ConfigSource,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    rule_threads: Arc<WorkThreads>,
    parts: Mutex<SharedParts>,
}

/// One load in progress: its inputs, the files that it reads, and the parts that it builds.
struct LoadJob<'a> {
    config: &'a Config,
    /// The folder that paths in the configuration are relative to.
    root: &'a Path,
    files: &'a mut FileSet,
    parts: SharedParts,
}

/// The parts of a profile that load quickly: they are loaded before any model.
struct TextsAndJudge<'a> {
    named: NamedPaths<'a>,
    judge: Option<Arc<JudgeSource>>,
    packs: Option<Arc<RulePacks>>,
}

impl Loader {
    pub(crate) fn new(
        source: ConfigSource,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
        rule_threads: Arc<WorkThreads>,
    ) -> Self {
        Self { source, metrics, tasks, rule_threads, parts: Mutex::default() }
    }

    /// Reads everything through `files` and builds the snapshot of `generation`. Blocks the thread.
    /// A failure changes nothing, but `files` then still has every file that was read or tried, so
    /// that a broken file can be watched until it is corrected.
    pub(crate) fn load(&self, generation: u64, files: &mut FileSet) -> Result<Snapshot, LoadError> {
        let config = self.source.load_in(files)?;
        let root = self.source.root();
        let auth = Auth::load(&config.auth, files, &root, self.source.environment.as_ref())?;
        // Checked before models are loaded, because loading takes long.
        let default_profile = config.default_profile().ok_or(LoadError::NoDefaultProfile)?;
        if !config.profiles.contains_key(default_profile) {
            return Err(LoadError::unknown(
                "default_profile",
                default_profile,
                "profiles",
                config.profiles.keys(),
            ));
        }
        let default_profile = ProfileName::from(default_profile);
        let mut load =
            LoadJob { config: &config, root: &root, files, parts: SharedParts::default() };
        // Judges and texts come before models for the same reason.
        let mut asked = Vec::new();
        for (name, profile) in &config.profiles {
            asked.push(self.texts_and_judge(&mut load, name, profile)?);
        }
        let mut profiles = BTreeMap::new();
        for ((name, profile), asked) in config.profiles.iter().zip(asked) {
            profiles.insert(name.clone(), self.profile(&mut load, (name, profile), asked)?);
        }
        let LoadJob { files, parts, .. } = load;
        // Only now, since nothing can fail any more: parts that the new snapshot does not use are
        // dropped with the last request that uses the old one.
        *self.parts.lock() = parts;
        let files = files.paths().cloned().collect();
        Ok(Snapshot { generation, config, default_profile, profiles, auth, files })
    }

    /// Stops the device threads and the rules' threads, once no source asks them any more.
    pub(crate) fn shutdown(&self) {
        let parts = std::mem::take(&mut *self.parts.lock());
        for (_, model) in parts.models.0 {
            model.shutdown();
        }
        self.rule_threads.stop();
    }

    /// The parts of profile `name` that load quickly.
    fn texts_and_judge<'a>(
        &self,
        load: &mut LoadJob<'a>,
        name: &'a str,
        profile: &ProfileConfig,
    ) -> Result<TextsAndJudge<'a>, LoadError> {
        profile.fusion.check().map_err(|error| LoadError::Profile {
            profile: name.to_owned(),
            detail: format!("fusion: {error}"),
        })?;
        if let Some(model) = &profile.model
            && !load.config.models.contains_key(model)
        {
            return Err(LoadError::unknown("model", model, "models", load.config.models.keys()));
        }
        let judges = &load.config.judges;
        if let Some(judge) = profile.judge.as_ref().filter(|judge| !judges.contains_key(*judge)) {
            return Err(LoadError::unknown("judge", judge, "judges", judges.keys()));
        }
        // Prompts are compiled even if no judge is configured, so that a broken one is found before
        // it is needed.
        let mut named = NamedPaths::new(name, profile, load.root);
        let prompts = self.prompts(load, &mut named, profile)?;
        let judge = self.judge(load, name, profile, prompts)?;
        let packs = self.packs(load, &mut named, profile)?;
        Ok(TextsAndJudge { named, judge, packs })
    }

    fn profile(
        &self,
        load: &mut LoadJob<'_>,
        (name, profile): (&str, &ProfileConfig),
        TextsAndJudge { mut named, judge, packs }: TextsAndJudge<'_>,
    ) -> Result<Profile, LoadError> {
        let invalid = |detail: String| LoadError::Profile { profile: name.to_owned(), detail };
        let mut sources: Vec<Arc<dyn RewardSource>> = Vec::new();
        if let Some(model) = &profile.model {
            sources.push(self.base(load, &mut named, model, profile.calibration)?);
        }
        if let Some(judge) = &judge {
            sources.push(Arc::clone(judge) as Arc<dyn RewardSource>);
        }
        if let Some(packs) = &packs {
            let threads = Arc::clone(&self.rule_threads);
            sources.push(Arc::new(RulesSource::on_threads(Arc::clone(packs), threads)));
        }
        let watched = |source| {
            Arc::new(ObservedSource::new(source, Arc::clone(&self.metrics)))
                as Arc<dyn RewardSource>
        };
        let scorer =
            Scorer::new(sources.into_iter().map(watched).collect(), profile.fusion.clone());
        scorer.check().map_err(|error| {
            invalid(format!(
                "{}; name a `model`, or set fusion.method = \"weighted_sum\"",
                error.detail
            ))
        })?;
        let NamedPaths { empty, .. } = named;
        Ok(Profile { name: ProfileName::from(name), scorer, packs, judge, empty })
    }

    /// The profile's rule packs, compiled only if a text is new; `None` for a profile without
    /// `rules`.
    fn packs(
        &self,
        load: &mut LoadJob<'_>,
        named: &mut NamedPaths<'_>,
        profile: &ProfileConfig,
    ) -> Result<Option<Arc<RulePacks>>, LoadError> {
        if profile.rules.is_empty() {
            return Ok(None);
        }
        let OwnedPacks { files, owners } = named.packs(load.files, &profile.rules)?;
        let packs = self.compiled(load, &files)?;
        // A path that has only declarations to import has no rules that could be missing.
        let mut rules = vec![None; profile.rules.len()];
        for (owner, of_file) in owners.iter().zip(packs.rule_counts()) {
            if let (Some(count), Some(of_file)) = (rules.get_mut(*owner), of_file) {
                *count = Some(count.unwrap_or(0) + of_file);
            }
        }
        for (owner, (path, rules)) in profile.rules.iter().zip(rules).enumerate() {
            if rules == Some(0) && owners.contains(&owner) {
                named.absent("rules", path, "has no rules")?;
            }
        }
        Ok(Some(packs))
    }

    fn compiled(
        &self,
        load: &mut LoadJob<'_>,
        files: &PackFiles,
    ) -> Result<Arc<RulePacks>, LoadError> {
        let key = PacksKey::new(&files.texts);
        // Files that cannot be read are no part of the key.
        let is_known = files.unreadable.is_empty();
        if let Some(packs) = load.parts.packs.get(&key).filter(|_| is_known) {
            return Ok(packs);
        }
        let kept = self.parts.lock().packs.get(&key).filter(|_| is_known);
        let packs = match kept {
            Some(packs) => packs,
            None => {
                let (packs, warnings) = RulePacks::compile(files).map_err(LoadError::Rules)?;
                if !warnings.diagnostics().is_empty() {
                    tracing::warn!("rule packs have warnings:\n{warnings}");
                }
                Arc::new(packs)
            }
        };
        load.parts.packs.insert(key, Arc::clone(&packs));
        Ok(packs)
    }

    /// The profile's judge prompts, compiled only if a text is new.
    fn prompts(
        &self,
        load: &mut LoadJob<'_>,
        named: &mut NamedPaths<'_>,
        profile: &ProfileConfig,
    ) -> Result<Arc<Prompts>, LoadError> {
        let texts = named.prompts(load.files, &profile.prompts)?;
        let key = keys_of(&texts);
        if let Some(prompts) = load.parts.prompts.get(&key) {
            return Ok(prompts);
        }
        let kept = self.parts.lock().prompts.get(&key);
        let prompts = match kept {
            Some(prompts) => prompts,
            None => {
                let (prompts, warnings) = Prompts::compile(&texts).map_err(LoadError::Prompts)?;
                if !warnings.diagnostics().is_empty() {
                    tracing::warn!("judge prompts have warnings:\n{warnings}");
                }
                Arc::new(prompts)
            }
        };
        load.parts.prompts.insert(key, Arc::clone(&prompts));
        Ok(prompts)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes its own files")]
mod tests {
    use super::*;

    const CONFIG: &str = "default_profile = \"a\"\n\
        [profiles.a]\nrules = [\"one.yaml\"]\nfusion = { method = \"weighted_sum\" }\n\
        [profiles.b]\nrules = [\"one.yaml\"]\nfusion = { method = \"weighted_sum\" }\n\
        [profiles.c]\nrules = [\"two.yaml\"]\nfusion = { method = \"weighted_sum\" }\n";

    fn pack(id: &str, points: i32) -> String {
        format!(
            "pack: {id}\nabout: One.\nrules:\n  - {{ id: r, about: One., points: {points}, match: {{ any_of: [x] }} }}\n"
        )
    }

    fn loader(folder: &Path) -> Loader {
        let source = ConfigSource {
            file: Some(folder.join("guerdon.toml")),
            environment: Arc::new(BTreeMap::new()),
            overrides: Vec::new(),
        };
        let threads = Arc::new(WorkThreads::start("test", 1, 1).unwrap());
        Loader::new(source, Metrics::new(), TaskTracker::new(), threads)
    }

    #[test]
    fn an_imported_file_is_loaded_followed_and_part_of_the_version() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("guerdon.toml", CONFIG);
        write("two.yaml", &pack("two", -1));
        let importing = pack("one", -1).replace("rules:", "import: [words.yaml]\nrules:");
        write("one.yaml", &importing.replace("[x]", "[$never]"));
        write("words.yaml", "library: words\nwords: { never: [不能] }\n");
        let loader = loader(folder.path());
        let load = |generation, files: &mut FileSet| {
            let snapshot = loader.load(generation, files).unwrap();
            snapshot.profiles["a"].packs.as_ref().unwrap().versions()
        };
        let mut files = FileSet::default();
        let first = load(1, &mut files);
        assert!(!files.has_changed());
        write("words.yaml", "library: words\nwords: { never: [无法] }\n");
        assert!(files.has_changed(), "an imported file is followed");
        let second = load(2, &mut FileSet::default());
        assert!(first.len() == 1 && first["one"] != second["one"], "{first:?} {second:?}");
        std::fs::remove_file(folder.path().join("words.yaml")).unwrap();
        let error = loader.load(3, &mut FileSet::default()).unwrap_err().to_string();
        assert!(error.contains("R016") && error.contains("words.yaml"), "{error}");
    }

    #[test]
    fn every_file_that_cannot_be_read_is_in_one_error_with_the_mistakes_of_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
        write("guerdon.toml", CONFIG.replace("one.yaml", "packs").as_bytes());
        write("two.yaml", pack("two", -1).as_bytes());
        std::fs::create_dir_all(folder.path().join("packs/lists")).unwrap();
        write("packs/a.yaml", b"pack: \xb9\xa4\n");
        let importing = pack("b", -1).replace("rules:", "import: [lists/words.yaml]\nrules:");
        write("packs/b.yaml", importing.replace("[x]", "[$never]").as_bytes());
        write("packs/c.yaml", pack("c", -1).replace("points", "pionts").as_bytes());
        std::os::unix::fs::symlink("nowhere", folder.path().join("packs/d.yaml")).unwrap();
        write("packs/lists/words.yaml", b"library: w\nwords: { never: [\xb9\xa4] }\n");
        let mut files = FileSet::default();
        let error = loader(folder.path()).load(1, &mut files).unwrap_err();
        let LoadError::Rules(report) = error else { panic!("{error}") };
        let found: Vec<String> = report
            .diagnostics()
            .iter()
            .map(|found| format!("{} {}:{}", found.code, found.file, found.line))
            .collect();
        let wanted = [
            "R001 packs/a.yaml:1",
            "R001 packs/d.yaml:1",
            "R001 packs/lists/words.yaml:2",
            "R002 packs/c.yaml:4",
        ];
        assert_eq!(found, wanted, "{report}");
        assert!(!files.has_changed());
        write("packs/lists/words.yaml", b"library: w\nwords: { never: [no] }\n");
        assert!(files.has_changed(), "an unreadable import is followed");
    }

    #[test]
    fn unchanged_packs_are_shared_by_profiles_and_generations() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("guerdon.toml", CONFIG);
        write("one.yaml", &pack("one", -1));
        write("two.yaml", &pack("two", -1));
        let loader = loader(folder.path());
        let load = |generation| {
            let snapshot = loader.load(generation, &mut FileSet::default()).unwrap();
            ["a", "b", "c"].map(|name| Arc::clone(snapshot.profiles[name].packs.as_ref().unwrap()))
        };
        let [a, b, c] = load(1);
        assert!(Arc::ptr_eq(&a, &b), "one folder named twice is compiled once");
        write("two.yaml", &pack("two", -2));
        let [a2, b2, c2] = load(2);
        assert!(Arc::ptr_eq(&a, &a2) && Arc::ptr_eq(&a, &b2), "an unchanged pack is kept");
        assert!(!Arc::ptr_eq(&c, &c2), "an edited pack is compiled again");
    }
}
