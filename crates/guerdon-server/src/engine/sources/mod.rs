//! Builds snapshots from the configuration. [`Loader::source`] is the only list of source kinds.

mod absent_model;
mod judges;
mod loader;
mod models;
mod moments_file;
mod named_paths;
mod parts;
mod plan;
mod remote;
mod rubrics;
mod scale;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use guerdon_fusion::{
    Ensemble, EnsembleSource, RewardSource, RunningNormaliser, Scorer, ScorerSource,
};
use guerdon_judge::Prompts;
use guerdon_rules::{PackFiles, RulePacks, RulesSource};
use guerdon_types::{Normaliser, ProfileName, SourceId, SourceRole};

use self::loader::LoadJob;
pub(crate) use self::loader::Loader;
use self::moments_file::{LiveMoments, MomentsOwner};
use self::named_paths::{NamedPaths, OwnedPacks};
use self::parts::{PacksKey, RunningKey, keys_of};
use self::plan::{PlannedJudge, PlannedKeys, PlannedSource, ProfilePlan};
use self::scale::SourceScale;
use crate::config::{CalibrationConfig, ProfileConfig};
use crate::engine::snapshot::{Profile, ProfileJudge, Snapshot};
use crate::error::LoadError;
use crate::http::auth::Auth;
use crate::load::file_set::FileSet;
use crate::observe::observed_source::ObservedSource;

/// The parts of a profile that load quickly: they are loaded before any model.
struct QuickParts<'a> {
    named: NamedPaths<'a>,
    plan: ProfilePlan<'a>,
    judges: BTreeMap<SourceId, ProfileJudge>,
    packs: BTreeMap<SourceId, Arc<RulePacks>>,
}

impl Loader {
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
        config.ledger.check()?;
        self.build_cluster(&config, files, &root)?;
        let default_profile = ProfileName::from(default_profile);
        let mut load = LoadJob::new(&config, &root, files);
        load.rubrics = self.rubrics(&mut load)?;
        // Judges and texts come before models for the same reason.
        let mut asked = Vec::new();
        for (name, profile) in &config.profiles {
            asked.push(self.quick_parts(&mut load, name, profile)?);
        }
        let mut profiles = BTreeMap::new();
        for ((name, profile), asked) in config.profiles.iter().zip(asked) {
            profiles.insert(name.clone(), self.profile(&mut load, (name, profile), asked)?);
        }
        let LoadJob { files, parts, rubrics, .. } = load;
        // Only now, since nothing can fail any more: parts that the new snapshot does not use are
        // dropped with the last request that uses the old one.
        let models =
            parts.models.0.iter().map(|(key, model)| (key.name.clone(), Arc::clone(model)));
        let models = models.collect();
        self.save_moments();
        *self.parts.lock() = parts;
        let files = files.paths().cloned().collect();
        Ok(Snapshot { generation, config, default_profile, profiles, models, auth, files, rubrics })
    }

    /// Stops the device threads and the rules' threads, once no source asks them any more.
    pub(crate) fn shutdown(&self) {
        self.save_moments();
        let parts = std::mem::take(&mut *self.parts.lock());
        for (_, model) in parts.models.0 {
            model.shutdown();
        }
        self.rule_threads.stop();
    }

    /// The parts of profile `name` that load quickly.
    fn quick_parts<'a>(
        &self,
        load: &mut LoadJob<'a>,
        name: &'a str,
        profile: &'a ProfileConfig,
    ) -> Result<QuickParts<'a>, LoadError> {
        profile.fusion.check().map_err(|error| LoadError::Profile {
            profile: name.to_owned(),
            detail: format!("fusion: {error}"),
        })?;
        let plan = plan::plan(name, profile)?;
        let (models, judges) = (&load.config.models, &load.config.judges);
        for source in &plan.sources {
            match source.keys {
                PlannedKeys::Model { model } if !models.contains_key(model) => {
                    return Err(LoadError::unknown("model", model, "models", models.keys()));
                }
                PlannedKeys::Judge(PlannedJudge { judge, .. }) if !judges.contains_key(judge) => {
                    return Err(LoadError::unknown("judge", judge, "judges", judges.keys()));
                }
                _ => {}
            }
        }
        let mut named = NamedPaths::new(name, profile, load.root);
        if profile.judge.is_none() {
            judges::check_unused(&named, profile)?;
            // Prompts are compiled even if no judge is configured, so that a broken one is found
            // before it is needed.
            self.prompts(load, &mut named, &profile.prompts)?;
        }
        let (mut judges, mut packs) = (BTreeMap::new(), BTreeMap::new());
        for source in &plan.sources {
            match source.keys {
                PlannedKeys::Judge(PlannedJudge { judge, prompts: [], .. })
                    if !load.config.rubrics.is_used() =>
                {
                    return Err(named.invalid(format!("judge `{judge}` has no `prompts` to ask")));
                }
                PlannedKeys::Judge(asked) => {
                    let compiled = self.prompts(load, &mut named, asked.prompts)?;
                    let asked =
                        judges::AskedJudge { id: &source.id, asked, bound: profile.fusion.bound };
                    let built = self.judge(load, (name, &asked), compiled)?;
                    judges.insert(source.id.clone(), built);
                }
                PlannedKeys::Rules { rules } => {
                    packs.insert(source.id.clone(), self.packs(load, &mut named, rules)?);
                }
                PlannedKeys::Model { .. }
                | PlannedKeys::Http(_)
                | PlannedKeys::RemoteRm(_)
                | PlannedKeys::Ensemble(_) => {}
            }
        }
        Ok(QuickParts { named, plan, judges, packs })
    }

    fn profile(
        &self,
        load: &mut LoadJob<'_>,
        (name, profile): (&str, &ProfileConfig),
        mut parts: QuickParts<'_>,
    ) -> Result<Profile, LoadError> {
        let invalid = |detail: String| LoadError::Profile { profile: name.to_owned(), detail };
        let ProfilePlan { sources: planned, fusion, is_explicit } = std::mem::take(&mut parts.plan);
        let mut sources = Vec::with_capacity(planned.len());
        for source in planned {
            let (built, normaliser) = self.source(load, profile, &mut parts, &source)?;
            let observed = ObservedSource::new(built, Arc::clone(&self.metrics));
            let observed = Arc::new(observed.within(source.timeout));
            let running = self.running(load, &parts.named, &source, normaliser.as_ref())?;
            let settings = source.settings.with_normaliser(normaliser);
            sources.push(ScorerSource::new(observed, settings).observing(running));
        }
        let mut scorer = Scorer::with_settings(sources, fusion);
        if is_explicit {
            scorer = scorer.reporting_parts();
        }
        scorer.check().map_err(|error| {
            invalid(format!(
                "{}; name a `model`, give a source the role `base`, or set fusion.method = \
                 \"weighted_sum\"",
                error.detail
            ))
        })?;
        let QuickParts { named: NamedPaths { empty, .. }, judges, packs, .. } = parts;
        let (judges, packs) = (judges.into_values().collect(), packs.into_values().collect());
        let metrics = Arc::new(self.metrics.rewards.of_profile(name, scorer.sources()));
        Ok(Profile { name: ProfileName::from(name), scorer, packs, judges, empty, metrics })
    }

    /// Builds one source. Judges and rule packs are among the `parts` already.
    fn source(
        &self,
        load: &mut LoadJob<'_>,
        profile: &ProfileConfig,
        parts: &mut QuickParts<'_>,
        PlannedSource { id, keys, settings, normalise, .. }: &PlannedSource<'_>,
    ) -> Result<(Arc<dyn RewardSource>, Option<Normaliser>), LoadError> {
        let lost = || LoadError::Internal;
        let is_base = settings.role == SourceRole::Base;
        let calibration = if is_base { profile.calibration } else { CalibrationConfig::default() };
        let scale = SourceScale { id, calibration, normalise: *normalise };
        scale.check(&parts.named)?;
        let source: Arc<dyn RewardSource> = match keys {
            PlannedKeys::Model { model } => {
                return self.model_source(load, &mut parts.named, model, scale);
            }
            PlannedKeys::Judge(_) => {
                let judge = parts.judges.get(id).ok_or_else(lost)?;
                Arc::clone(&judge.source) as Arc<dyn RewardSource>
            }
            PlannedKeys::Rules { .. } => {
                let packs = Arc::clone(parts.packs.get(id).ok_or_else(lost)?);
                let source = RulesSource::on_threads(packs, Arc::clone(&self.rule_threads));
                Arc::new(source.named(id.clone()))
            }
            PlannedKeys::Http(config) => self.function(load, id, config)?,
            PlannedKeys::RemoteRm(config) => {
                scale.check_own(&parts.named, config.calibration)?;
                self.remote_rm(load, id, config)?
            }
            PlannedKeys::Ensemble(keys) => {
                let of = keys.of.iter().map(|name| SourceId::from(name.as_str())).collect();
                let ensemble = Ensemble { of, combine: keys.combine() };
                Arc::new(EnsembleSource::new(id.clone(), ensemble))
            }
        };
        let normaliser = scale.normaliser(&parts.named, None)?;
        Ok((source, normaliser))
    }

    /// The moments of an online normaliser, which outlive a reload.
    fn running(
        &self,
        load: &mut LoadJob<'_>,
        named: &NamedPaths<'_>,
        source: &PlannedSource<'_>,
        normaliser: Option<&Normaliser>,
    ) -> Result<Option<Arc<RunningNormaliser>>, LoadError> {
        let invalid = |detail: String| named.invalid(format!("source `{}`: {detail}", source.id));
        let path = source.normalise_state.map(|path| load.root.join(path));
        let online = normaliser.and_then(|normaliser| match normaliser {
            Normaliser::Running { online: true, .. } => normaliser.running_state(),
            _ => None,
        });
        let (Some(normaliser), Some(configured)) = (normaliser, online) else {
            return match path {
                None => Ok(None),
                Some(_) => Err(invalid(
                    "`normalise_state` is set, and no moments change\n  help: set normalise = \
                     { kind = \"running\", online = true }, or remove it"
                        .to_owned(),
                )),
            };
        };
        let shares = |live: &LiveMoments| path.is_some() && live.path() == path.as_deref();
        if let Some((other, _)) = load.parts.running.0.iter().find(|(_, live)| shares(live)) {
            return Err(invalid(format!(
                "`normalise_state` is also the file of the source `{}` of the profile `{}`\n  help: \
                 give each source a file of its own",
                other.source, other.profile
            )));
        }
        let owner = MomentsOwner { profile: named.profile().to_owned(), source: source.id.clone() };
        let key = RunningKey {
            profile: owner.profile.clone(),
            source: owner.source.clone(),
            normaliser: normaliser.clone(),
            path: path.clone(),
        };
        let kept = self.parts.lock().running.get(&key);
        let live = match (kept, &path) {
            (Some(kept), _) => kept,
            (None, Some(path)) => {
                Arc::new(LiveMoments::open(path, owner, configured).map_err(invalid)?)
            }
            (None, None) => Arc::new(LiveMoments::of_process(configured)),
        };
        load.parts.running.insert(key, Arc::clone(&live));
        Ok(Some(Arc::clone(&live.running)))
    }

    /// Saves the moments of online normalisers that have a file. Blocks the thread.
    pub(crate) fn save_moments(&self) {
        // Not locked while files are written.
        for live in self.saved_moments() {
            live.save();
        }
    }

    /// True if a normaliser has a file for its moments.
    pub(crate) fn has_moments_to_save(&self) -> bool {
        !self.saved_moments().is_empty()
    }

    fn saved_moments(&self) -> Vec<Arc<LiveMoments>> {
        let parts = self.parts.lock();
        let all = parts.running.0.iter().map(|(_, live)| live);
        all.filter(|live| live.path().is_some()).cloned().collect()
    }

    /// The rule packs of `paths`, compiled only if a text is new.
    fn packs(
        &self,
        load: &mut LoadJob<'_>,
        named: &mut NamedPaths<'_>,
        paths: &[PathBuf],
    ) -> Result<Arc<RulePacks>, LoadError> {
        let OwnedPacks { files, owners } = named.packs(load.files, paths)?;
        let packs = self.compiled(load, &files)?;
        // A path that has only declarations to import has no rules that could be missing.
        let mut rules = vec![None; paths.len()];
        for (owner, of_file) in owners.iter().zip(packs.rule_counts()) {
            if let (Some(count), Some(of_file)) = (rules.get_mut(*owner), of_file) {
                *count = Some(count.unwrap_or(0) + of_file);
            }
        }
        for (owner, (path, rules)) in paths.iter().zip(rules).enumerate() {
            if rules == Some(0) && owners.contains(&owner) {
                named.absent("rules", path, "has no rules")?;
            }
        }
        Ok(packs)
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

    /// The judge prompts of `paths`, compiled only if a text is new.
    fn prompts(
        &self,
        load: &mut LoadJob<'_>,
        named: &mut NamedPaths<'_>,
        paths: &[PathBuf],
    ) -> Result<Arc<Prompts>, LoadError> {
        let texts = named.prompts(load.files, paths)?;
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
    use std::path::Path;

    use guerdon_queue::WorkThreads;
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::config::ConfigSource;
    use crate::observe::metrics::Metrics;

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
            snapshot.profiles["a"].packs[0].versions()
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
            ["a", "b", "c"].map(|name| Arc::clone(&snapshot.profiles[name].packs[0]))
        };
        let [a, b, c] = load(1);
        assert!(Arc::ptr_eq(&a, &b), "one folder named twice is compiled once");
        write("two.yaml", &pack("two", -2));
        let [a2, b2, c2] = load(2);
        assert!(Arc::ptr_eq(&a, &a2) && Arc::ptr_eq(&a, &b2), "an unchanged pack is kept");
        assert!(!Arc::ptr_eq(&c, &c2), "an edited pack is compiled again");
    }
}
