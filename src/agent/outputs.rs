//! Writing a generation to places outside `live/`: files in other forms, and trees as certbot keeps
//! them. Nothing is written before everything could be made: a missing password leaves every file
//! as it was.

use std::io::ErrorKind;
use std::path::Path;

use crate::agent::Agent;
use crate::agent::book::Book;
use crate::agent::gather::World;
use crate::codec::bundle::Bundle;
use crate::codec::form::{self, Source};
use crate::codec::pkcs12::{Password, Pkcs12Error};
use crate::core::decide::Placement;
use crate::core::event::Event;
use crate::core::failure::{Failure, Fault};
use crate::core::form::Form;
use crate::core::layout::{self, FileRights, FsOp, Rendering};
use crate::core::record::GenerationNumber;
use crate::core::spec::{LineageSpec, Output};
use crate::core::tree::{Tree, Version};
use crate::ports::Secrets;

/// Largest file kept as a backup before our first write to its path, in bytes.
const BACKUP_MAX: usize = 1 << 20;

impl Agent {
    /// Writes generation `number` to every output that does not show it.
    pub(super) async fn write_outputs(
        &self,
        spec: &LineageSpec,
        world: &mut World,
        bundle: &Bundle,
        texts: &Rendering,
        number: GenerationNumber,
    ) -> Result<(), Failure> {
        let wrong: Vec<&Output> = spec
            .outputs
            .iter()
            .zip(&world.disk.outputs)
            .filter(|(_, (_, placement))| *placement != Placement::Shows(number))
            .map(|(output, _)| output)
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        let source = Source::new(bundle, texts, spec);
        let plans: Vec<_> =
            wrong.iter().map(|output| self.plan_output(output, &source)).collect::<Result<_, _>>()?;
        for output in wrong.iter().filter(|output| output.form != Form::Tree) {
            self.back_up(spec, world, output).await?;
        }
        let before = world.installed.value.written.clone();
        world.installed.value.written.extend(wrong.iter().map(|output| output.path.clone()));
        if world.installed.value.written != before {
            Book::new(&*self.store).save_installed(&spec.id, &mut world.installed).await?;
        }
        for (output, plan) in wrong.into_iter().zip(plans) {
            self.write(plan).await?;
            self.tell(&Event::Installed {
                lineage: spec.id.clone(),
                generation: number,
                path: output.path.clone(),
                why: output.form.word(),
            });
        }
        Ok(())
    }

    /// All that is to be done on the disk for one output.
    ///
    /// Codes: `secret-missing`, `password-unfit`, `output-form`.
    pub(super) fn plan_output(&self, output: &Output, source: &Source<'_>) -> Result<Vec<FsOp>, Failure> {
        if output.form == Form::Tree {
            return Ok(self.plan_tree(output, source.texts));
        }
        let password = password(&output.form, &self.secrets)?;
        let content = form::encode(&output.form, source, password.as_ref()).map_err(|error| {
            Failure::refused(
                Fault::Host,
                "output-form",
                format!("{} can't be written as {}: {error}", output.path, output.form.word()),
            )
        })?;
        Ok(layout::output(output, content))
    }

    fn plan_tree(&self, output: &Output, texts: &Rendering) -> Vec<FsOp> {
        let Some(tree) = Tree::at(Path::new(&output.path)) else { return Vec::new() };
        let names = |dir: &Path| self.disk.list(dir).unwrap_or_default();
        let shelves = names(tree.shelves());
        let (version, is_new) = match self.version_filed(&tree, &shelves, texts) {
            Some(version) => (version, false),
            None => (tree.next(&names(tree.archive()), &shelves), true),
        };
        // A link of somebody's is replaced: what it points to stays. A directory is moved.
        let aside = self.disk.stat(&tree.link()).is_ok() && self.disk.read_link(&tree.link()).is_err();
        let mut ops = tree.show(version, texts, &output.rights, aside);
        let mut shelves = shelves;
        if is_new {
            shelves.extend(tree.shelf(version).file_name().and_then(|name| Some(name.to_str()?.to_owned())));
        }
        ops.extend(tree.prune(version, &shelves));
        ops
    }

    /// The version of ours that holds these very texts already: going back to it makes no new one.
    fn version_filed(&self, tree: &Tree, shelves: &[String], texts: &Rendering) -> Option<Version> {
        shelves.iter().filter_map(|name| tree.version_of(name)).find(|version| {
            Tree::PARTS.iter().all(|part| {
                let filed = self.disk.read_plain(&tree.file(*part, *version), BACKUP_MAX).ok();
                filed.is_some() && filed.as_ref() == texts.get(part)
            })
        })
    }

    /// Keeps what lay at an output before we first write there.
    async fn back_up(&self, spec: &LineageSpec, world: &mut World, output: &Output) -> Result<(), Failure> {
        let path = Path::new(&output.path);
        if world.installed.value.written.contains(&output.path) {
            return Ok(());
        }
        let content = match self.disk.read(path, BACKUP_MAX) {
            Ok(content) => content,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => {
                return Err(Failure::refused(
                    Fault::Host,
                    "output-unreadable",
                    format!(
                        "{} is there but can't be read, so it is not replaced: {error}; move it away",
                        output.path
                    ),
                ));
            }
        };
        let password = password(&output.form, &self.secrets).ok().flatten();
        if let Some(leaf) = form::leaf_in(&output.form, content.bytes(), password.as_ref()) {
            self.tell(&Event::ForeignFound {
                lineage: spec.id.clone(),
                path: output.path.clone(),
                leaf: Box::new(leaf),
            });
        }
        let backup = format!("{}.before-nolapse", output.path);
        if self.disk.stat(Path::new(&backup)).is_ok() {
            return Ok(());
        }
        // It may hold a key: nobody but the owner of this process reads the copy.
        self.write(layout::replace(Path::new(&backup), content, FileRights::mode(0o600))).await?;
        world.installed.value.backups.insert(backup);
        Ok(())
    }
}

/// The password of a form that has one.
///
/// Codes: `secret-missing`, `password-unfit`.
pub(super) fn password(form: &Form, secrets: &Secrets) -> Result<Option<Password>, Failure> {
    let Form::Pkcs12 { password } = form else { return Ok(None) };
    let unfit =
        |error: Pkcs12Error| Failure::refused(Fault::Config, "password-unfit", format!("an output: {error}"));
    let text = secrets(password)?;
    Password::new(text.bytes()).map(Some).map_err(unfit)
}

/// The answer of an agent that was not [trusted](Agent::trusted_with) with any.
pub(super) fn no_secrets() -> Failure {
    Failure::refused(Fault::Config, "secret-missing", "this program was not given a way to read secrets")
}
