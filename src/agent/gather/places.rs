//! Looking at what lies outside `live/`.

use std::io::ErrorKind;
use std::path::Path;

use super::{Eye, FILE_MAX, Owners};
use crate::agent::outputs;
use crate::codec::digest;
use crate::codec::form;
use crate::core::decide::Placement;
use crate::core::form::Form;
use crate::core::layout::{output_mode, part_mode};
use crate::core::record::Issued;
use crate::core::spec::{Output, Part};
use crate::core::tree::{Tree, Version};

impl Eye<'_> {
    /// What lies at an output, where `live` is what lies under `live/`.
    pub(super) fn output(&self, output: &Output, live: &Placement) -> Placement {
        let path = Path::new(&output.path);
        if output.form == Form::Tree {
            return Tree::at(path).map_or(Placement::Missing, |tree| self.tree(&tree, output, live));
        }
        let content = match self.disk.read(path, FILE_MAX) {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => return Placement::Missing,
            Err(error) => return Placement::Drifted(error.to_string()),
        };
        let password = match outputs::password(&output.form, self.secrets) {
            Ok(password) => password,
            Err(failure) => return Placement::Drifted(failure.words),
        };
        let shown = self
            .candidates(live)
            .find(|issued| form::shows(&output.form, content.bytes(), issued, password.as_ref()));
        if let Some(issued) = shown {
            let differ = |stat| Owners::of(self.disk, &output.rights).differ(&stat, output_mode(output));
            return match self.disk.stat(path).map_or_else(|error| Some(error.to_string()), differ) {
                Some(what) => Placement::Drifted(what),
                None => Placement::Shows(issued.number),
            };
        }
        form::leaf_in(&output.form, content.bytes(), password.as_ref())
            .and_then(|leaf| self.foreign(leaf))
            .unwrap_or_else(|| Placement::Drifted("holds something else".into()))
    }

    /// A tree shows a generation if a reader finds all four of its texts through links of ours.
    fn tree(&self, tree: &Tree, output: &Output, live: &Placement) -> Placement {
        let link = match self.disk.read_link(&tree.link()) {
            Ok(link) => link,
            Err(error) if error.kind() == ErrorKind::NotFound => return Placement::Missing,
            Err(_) => return self.strange_tree(tree, "is a directory that somebody else made"),
        };
        let Some(version) = link.to_str().and_then(|name| tree.version_of(name)) else {
            return self.strange_tree(tree, "is a link to somewhere else");
        };
        let whole = |issued: &&Issued| {
            Tree::PARTS
                .iter()
                .all(|part| self.filed(tree, version, *part).as_ref() == issued.digests.get(part))
        };
        let Some(issued) = self.candidates(live).find(whole) else {
            return self.strange_tree(tree, "holds something else");
        };
        let owners = Owners::of(self.disk, &output.rights);
        let differ = |part: Part| {
            let mode = part_mode(part, &output.rights);
            let stat = self.disk.stat(&tree.file(part, version));
            stat.map_or_else(|error| Some(error.to_string()), |stat| owners.differ(&stat, mode))
        };
        match Tree::PARTS.into_iter().find_map(differ) {
            Some(what) => Placement::Drifted(what),
            None => Placement::Shows(issued.number),
        }
    }

    /// What one link leads to, where it is still ours.
    fn filed(&self, tree: &Tree, version: Version, part: Part) -> Option<crate::core::leaf::Fingerprint> {
        let link = tree.shelf(version).join(part.file_name());
        let is_ours = self.disk.read_link(&link).is_ok_and(|target| target == tree.target(part, version));
        let content = self.disk.read_plain(&tree.file(part, version), FILE_MAX).ok()?;
        is_ours.then(|| digest::sha256(content.bytes()))
    }

    fn strange_tree(&self, tree: &Tree, what: &str) -> Placement {
        self.stranger(&tree.link()).unwrap_or_else(|| Placement::Drifted(what.to_owned()))
    }

    /// Generations that a file may be of. Some files fit several, such as the chain of one CA or a
    /// key that is kept: then they are of the one that is shown, or else of the one to show.
    fn candidates(&self, live: &Placement) -> impl Iterator<Item = &Issued> {
        let shown = match live {
            Placement::Shows(number) => self.record.issued(*number),
            _ => None,
        };
        shown.into_iter().chain(self.target).chain(self.record.kept())
    }
}
