//! A copy of the project whose sources hold the faults.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::find::find;
use crate::mutant::{Mutant, Site};
use crate::weave::{Woven, weave};

const SWITCH: &str = include_str!("switch.txt");
/// Faults are code that nobody would write: what the compiler remarks on it is of no use.
const LIBRARY_HEAD: &str = "#![feature(core_intrinsics, const_eval_select)] #![allow(internal_features, warnings, \
     arithmetic_overflow, unconditional_panic, unused_must_use)] ";

/// A fault of the copy.
pub struct Planted {
    pub file: String,
    pub mutant: Mutant,
}

impl Planted {
    /// The same words in each run, for as long as the code stays the same.
    pub fn key(&self) -> String {
        format!("{} {}", self.file, self.mutant.what)
    }
}

pub struct Tree {
    /// Where the copy is.
    pub root: PathBuf,
    /// By number, from 1.
    pub planted: BTreeMap<u32, Planted>,
    sources: BTreeMap<String, Source>,
}

struct Source {
    text: String,
    sites: Vec<(Site, Vec<u32>)>,
    woven: Woven,
}

impl Tree {
    /// Copies all files that git knows of, and finds the faults of those whose path begins with an area.
    pub fn new(project: &Path, root: &Path, areas: &[String]) -> Result<Self, String> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(project)
            .output()
            .map_err(|e| format!("git: {e}"))?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let files: Vec<&str> = listed.split('\0').filter(|f| project.join(f).is_file()).collect();
        for file in &files {
            let (from, to) = (project.join(file), root.join(file));
            if !of_areas(file, areas) {
                let mut bytes = fs::read(&from).map_err(|e| format!("{file}: {e}"))?;
                if *file == "src/lib.rs" {
                    bytes = [LIBRARY_HEAD.as_bytes(), &bytes, b"\npub mod mutant;\n"].concat();
                }
                put(&to, &bytes)?;
                let mode = fs::metadata(&from).map_err(|e| format!("{file}: {e}"))?.permissions();
                fs::set_permissions(&to, mode).map_err(|e| format!("{file}: {e}"))?;
            }
        }
        let mut tree = Self { root: root.to_owned(), planted: BTreeMap::new(), sources: BTreeMap::new() };
        tree.read(project, &files, areas)?;
        Ok(tree)
    }

    fn read(&mut self, project: &Path, files: &[&str], areas: &[String]) -> Result<(), String> {
        let mut read = Vec::new();
        let mut test_files = BTreeSet::new();
        for file in files.iter().filter(|file| of_areas(file, areas)) {
            let text = fs::read_to_string(project.join(file)).map_err(|e| format!("{file}: {e}"))?;
            let found = find(&text).map_err(|e| format!("{file}: {e}"))?;
            let folder = file.strip_suffix("/mod.rs").or_else(|| file.strip_suffix(".rs")).unwrap_or(file);
            test_files.extend(found.test_modules.iter().map(|name| format!("{folder}/{name}")));
            read.push(((*file).to_owned(), text, found.sites));
        }
        let mut next = 1;
        for (file, text, sites) in read {
            let stem = file.strip_suffix(".rs").unwrap_or(&file);
            let tested = test_files.iter().any(|t| stem == t || stem.starts_with(&format!("{t}/")));
            let mut numbered = Vec::new();
            for site in sites.into_iter().filter(|_| !tested) {
                let numbers = site.mutants.iter().map(|mutant| {
                    self.planted.insert(next, Planted { file: file.clone(), mutant: mutant.clone() });
                    next += 1;
                    next - 1
                });
                let numbers = numbers.collect();
                numbered.push((site, numbers));
            }
            self.sources.insert(file, Source { text, sites: numbered, woven: Woven::default() });
        }
        // Twins (the same words twice in one function) are told apart by their order.
        let mut met: BTreeMap<String, usize> = BTreeMap::new();
        for planted in self.planted.values_mut() {
            let count = met.entry(planted.key()).or_default();
            *count += 1;
            if *count > 1 {
                planted.mutant.what = format!("{} (no. {count})", planted.mutant.what);
            }
        }
        Ok(())
    }

    /// Writes the copy's sources with all faults but those left out.
    pub fn write(&mut self, without: &BTreeSet<u32>) -> Result<(), String> {
        let count = self.planted.keys().last().copied().unwrap_or(0) + 1;
        put(&self.root.join("src/mutant.rs"), format!("{SWITCH}\nconst COUNT: u32 = {count};\n").as_bytes())?;
        for (file, source) in &mut self.sources {
            let sites: Vec<(Site, Vec<Option<u32>>)> = source
                .sites
                .iter()
                .map(|(site, numbers)| {
                    (site.clone(), numbers.iter().map(|n| (!without.contains(n)).then_some(*n)).collect())
                })
                .collect();
            source.woven = weave(&source.text, &sites);
            put(&self.root.join(file), source.woven.text.as_bytes())?;
        }
        Ok(())
    }

    /// The faults to blame for what the compiler says about a stretch of a file.
    pub fn blamed(&self, file: &str, octets: &Range<usize>) -> Vec<u32> {
        let Some(source) = self.sources.get(file) else { return Vec::new() };
        let meets = |range: &&Range<usize>| {
            range.start < octets.end.max(octets.start + 1) && octets.start < range.end
        };
        let own: Vec<u32> =
            source.woven.own.iter().filter(|(_, range)| meets(&range)).map(|(number, _)| *number).collect();
        if !own.is_empty() {
            return own;
        }
        // None of them itself: the least of the sites about it.
        let around = source.woven.around.iter().filter(|(faults, range)| !faults.is_empty() && meets(&range));
        around.min_by_key(|(_, range)| range.len()).map(|(faults, _)| faults.clone()).unwrap_or_default()
    }
}

/// Whether a file is a source below one of the areas.
fn of_areas(file: &str, areas: &[String]) -> bool {
    Path::new(file).extension().is_some_and(|ending| ending == "rs")
        && areas.iter().any(|area| file.starts_with(area.as_str()))
}

/// Writes a file where it differs, so that what is built from it stays valid.
fn put(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|now| now == bytes) {
        return Ok(());
    }
    let say = |e: std::io::Error| format!("{}: {e}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(say)?;
    }
    fs::write(path, bytes).map_err(say)
}
